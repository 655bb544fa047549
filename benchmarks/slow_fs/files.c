/* The operations on open files, attributes and locks, and the common parts of answers. */
#include "operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    Node *node;
    bool writes;
    bool closed; /* a FLUSH has taken the time of NFS's CLOSE */
} Handle;

void fill_entry(Node *node, struct fuse_entry_out *out) {
    node->lookups++;
    *out = (struct fuse_entry_out){
        .nodeid = id_of(node),
        .generation = 1,
        .entry_valid = valid_ns / 1000000000u,
        .attr_valid = valid_ns / 1000000000u,
        .entry_valid_nsec = (uint32_t)(valid_ns % 1000000000u),
        .attr_valid_nsec = (uint32_t)(valid_ns % 1000000000u),
    };
    node_attributes(node, &out->attr);
}

int answer_entry(Worker *worker, Node *node) {
    fill_entry(node, (struct fuse_entry_out *)worker->answer);
    worker->length = sizeof(struct fuse_entry_out);
    return 0;
}

int answer_attributes(Worker *worker, const Node *node) {
    struct fuse_attr_out *out = (struct fuse_attr_out *)worker->answer;
    *out = (struct fuse_attr_out){
        .attr_valid = valid_ns / 1000000000u,
        .attr_valid_nsec = (uint32_t)(valid_ns % 1000000000u),
    };
    node_attributes(node, &out->attr);
    worker->length = sizeof *out;
    return 0;
}

int answer_open(Worker *worker, Node *node, uint32_t flags, uint32_t open_flags) {
    Handle *handle = malloc(sizeof *handle);
    *handle = (Handle){.node = node, .writes = (flags & O_ACCMODE) != O_RDONLY};
    node->opens++;
    struct fuse_open_out *out = (struct fuse_open_out *)(worker->answer + worker->length);
    *out = (struct fuse_open_out){.fh = (uint64_t)handle, .open_flags = open_flags};
    worker->length += sizeof *out;
    return 0;
}

/* NFS's reply to a change contains the new attributes, also those of the directory: a mount that
   asks for them after its own change needs no round trip. */
void attributes_sent(const Worker *worker, Node *node) {
    atomic_fetch_or(&node->sent, worker->mount->bit);
    node->sent_at = worker->began;
}

void changed_by(const Worker *worker, Node *node) {
    if (mounts > 1) atomic_fetch_or(&node->stale, ~worker->mount->bit);
}

int getattr(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)argument;
    Node *node = node_of(in->nodeid);
    if (is_behind(worker->mount, node)) worker->behind = node;
    bool paid = atomic_fetch_and(&node->sent, ~worker->mount->bit) & worker->mount->bit;
    if (paid && worker->began < node->sent_at + valid_ns) worker->delay = 0;
    return answer_attributes(worker, node);
}

int setattr(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_setattr_in *set = (const struct fuse_setattr_in *)argument;
    Node *node = node_of(in->nodeid);
    uint32_t valid = set->valid;
    /* The kernel writes back the time of its cache: NFS needs no round trip for that. */
    uint32_t kind = valid & ~(uint32_t)(FATTR_FH | FATTR_LOCKOWNER);
    if (S_ISREG(node->mode) && kind == (FATTR_MTIME | FATTR_CTIME)) worker->delay = 0;
    if (valid & FATTR_MODE) node->mode = (node->mode & S_IFMT) | (set->mode & 07777);
    if (valid & FATTR_UID) node->uid = set->uid;
    if (valid & FATTR_GID) node->gid = set->gid;
    node->changed = wall();
    if (valid & FATTR_ATIME)
        node->accessed = (struct timespec){(time_t)set->atime, set->atimensec};
    if (valid & FATTR_ATIME_NOW) node->accessed = node->changed;
    if (valid & FATTR_MTIME)
        node->modified = (struct timespec){(time_t)set->mtime, set->mtimensec};
    if (valid & FATTR_MTIME_NOW) node->modified = node->changed;
    if (valid & FATTR_CTIME) node->changed = (struct timespec){(time_t)set->ctime, set->ctimensec};
    if (valid & FATTR_SIZE) {
        data_truncate(worker->mount, node, set->size);
        changed_by(worker, node);
    }
    return answer_attributes(worker, node);
}

/* The kernel keeps a file's cached pages on open unless another mount changed it. */
int open_existing(Worker *worker, Node *node, uint32_t flags) {
    bool stale = atomic_fetch_and(&node->stale, ~worker->mount->bit) & worker->mount->bit;
    if (flags & O_TRUNC) {
        worker->delay = write_ns;
        worker->direction = WRITES;
        data_truncate(worker->mount, node, 0);
        node->modified = node->changed = wall();
        node->unflushed = true;
        changed_by(worker, node);
    }
    if (is_behind(worker->mount, node)) worker->behind = node;
    return answer_open(worker, node, flags, stale ? 0 : FOPEN_KEEP_CACHE);
}

int open_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    return open_existing(worker, node_of(in->nodeid), ((struct fuse_open_in *)argument)->flags);
}

int read_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_read_in *read = (const struct fuse_read_in *)argument;
    worker->read = node_of(in->nodeid);
    worker->offset = read->offset;
    worker->size = read->size;
    uint64_t size = worker->read->size;
    uint64_t left = size > read->offset ? size - read->offset : 0;
    worker->bytes = left < read->size ? left : read->size;
    return 0;
}

int write_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_write_in *write = (const struct fuse_write_in *)argument;
    Node *node = node_of(in->nodeid);
    pthread_mutex_unlock(&tree_lock);
    struct fuse_write_out *out = (struct fuse_write_out *)worker->answer;
    *out = (struct fuse_write_out){.size = write->size};
    worker->length = sizeof *out;
    worker->bytes = write->size;
    bool cached = write->write_flags & FUSE_WRITE_CACHE;
    data_write(worker->mount, node, write->offset, write->size, &worker->block);
    node->unflushed = true;
    changed_by(worker, node);
    attributes_sent(worker, node);
    pthread_mutex_lock(&tree_lock);
    if (!cached) node->modified = node->changed = wall();
    return 0;
}

int flush(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_flush_in *flush = (const struct fuse_flush_in *)argument;
    Node *node = node_of(in->nodeid);
    Handle *handle = (Handle *)flush->fh;
    if (handle->writes && atomic_exchange(&node->unflushed, false)) {
        handle->closed = true;
        attributes_sent(worker, node);
    } else {
        worker->delay = 0;
    }
    lock_drop(node, worker->mount, flush->lock_owner);
    return 0;
}

/* NFS also closes what was only read. Nobody waits for that, but it takes a slot: so does RELEASE. */
int release(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_release_in *release = (const struct fuse_release_in *)argument;
    Node *node = node_of(in->nodeid);
    Handle *handle = (Handle *)release->fh;
    if (!handle->closed) worker->delay = read_ns;
    free(handle);
    node->opens--;
    node_settle(node);
    return 0;
}

int getlk(Worker *worker, const struct fuse_in_header *in, char *argument) {
    struct fuse_lk_out *out = (struct fuse_lk_out *)worker->answer;
    worker->length = sizeof *out;
    return lock_get(node_of(in->nodeid), worker->mount, (const struct fuse_lk_in *)argument,
                    &out->lk);
}

/* The new holder of a lock sees the writes of the previous holders. */
int setlk(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_lk_in *lock = (const struct fuse_lk_in *)argument;
    Node *node = node_of(in->nodeid);
    int error = lock_set(node, worker, in, lock);
    worker->pages = !error && lock->lk.type != F_UNLCK;
    if (worker->pages) worker->behind = node;
    return error;
}
