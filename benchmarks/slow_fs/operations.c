/* What each request does, and what it costs. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MISSES 4096
#define SOON 100000000u /* ns */

typedef struct {
    Node *node;
    bool writes;
} Handle;

typedef int Operation(Worker *worker, const struct fuse_in_header *in, char *argument);

/* Names that a LOOKUP has just missed: a creation under one of them has paid a part already,
   since an NFS client creates in one trip what FUSE looks up first. */
static struct {
    const Node *parent;
    uint64_t hash, when;
} misses[MISSES];

static void missed(const Node *parent, const char *name) {
    uint64_t hash = hash_of(parent, name, strlen(name));
    misses[hash % MISSES].parent = parent;
    misses[hash % MISSES].hash = hash;
    misses[hash % MISSES].when = now();
}

static void paid_by_miss(Worker *worker, const Node *parent, const char *name) {
    uint64_t hash = hash_of(parent, name, strlen(name));
    uint64_t paid = (uint64_t)read_ns;
    if (misses[hash % MISSES].parent != parent || misses[hash % MISSES].hash != hash) return;
    if (worker->began - misses[hash % MISSES].when < SOON + paid && paid) {
        worker->delay -= (int64_t)paid;
        counters_one_trip();
    }
    misses[hash % MISSES].parent = NULL;
}

/* NFS's reply to a change carries the attributes after it, and those of the directory: a mount
   that asks for them after a change of its own pays nothing. */
static void told(const Worker *worker, Node *node) {
    atomic_fetch_or(&node->told, worker->mount->bit);
    node->told_at = worker->began;
}

static void changed_by(const Worker *worker, Node *node) {
    if (mounts > 1) atomic_fetch_or(&node->stale, ~worker->mount->bit);
}

static void fill_entry(Node *node, struct fuse_entry_out *out) {
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

static int answer_entry(Worker *worker, Node *node) {
    fill_entry(node, (struct fuse_entry_out *)worker->answer);
    worker->length = sizeof(struct fuse_entry_out);
    return 0;
}

static int answer_attributes(Worker *worker, const Node *node) {
    struct fuse_attr_out *out = (struct fuse_attr_out *)worker->answer;
    *out = (struct fuse_attr_out){
        .attr_valid = valid_ns / 1000000000u,
        .attr_valid_nsec = (uint32_t)(valid_ns % 1000000000u),
    };
    node_attributes(node, &out->attr);
    worker->length = sizeof *out;
    return 0;
}

static int lookup(Worker *worker, const struct fuse_in_header *in, char *name) {
    Node *parent = node_of(in->nodeid);
    const Entry *entry = entry_find(parent, name, strlen(name));
    if (!entry) {
        missed(parent, name);
        return -ENOENT;
    }
    if (is_behind(worker->mount, entry->node)) worker->behind = entry->node;
    return answer_entry(worker, entry->node);
}

static int getattr(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)argument;
    Node *node = node_of(in->nodeid);
    if (is_behind(worker->mount, node)) worker->behind = node;
    bool paid = atomic_fetch_and(&node->told, ~worker->mount->bit) & worker->mount->bit;
    if (paid && worker->began < node->told_at + valid_ns) worker->delay = 0;
    return answer_attributes(worker, node);
}

static int setattr(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_setattr_in *set = (const struct fuse_setattr_in *)argument;
    Node *node = node_of(in->nodeid);
    uint32_t valid = set->valid;
    /* The kernel hands over the time of its own cache: NFS makes no trip for that. */
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

static int readlink_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)argument;
    const Node *node = node_of(in->nodeid);
    worker->length = (uint32_t)strlen(node->target);
    memcpy(worker->answer, node->target, worker->length);
    return 0;
}

/* Gives a new node its name, and answers with it. */
static int make(Worker *worker, const struct fuse_in_header *in, const char *name, uint32_t mode,
                const char *target, Node **made) {
    Node *parent = node_of(in->nodeid);
    paid_by_miss(worker, parent, name);
    if (!parent->links) return -ENOENT;
    if (entry_find(parent, name, strlen(name))) return -EEXIST;
    *made = node_new(mode, in);
    if (target) (*made)->target = strdup(target);
    entry_add(parent, name, strlen(name), *made);
    told(worker, parent);
    return answer_entry(worker, *made);
}

static int symlink_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Node *made;
    return make(worker, in, name, S_IFLNK | 0777, name + strlen(name) + 1, &made);
}

static int mknod_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_mknod_in *node = (const struct fuse_mknod_in *)argument;
    Node *made;
    int error = make(worker, in, argument + sizeof *node, node->mode, NULL, &made);
    if (!error) made->device = node->rdev;
    return error;
}

static int mkdir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_mkdir_in *directory = (const struct fuse_mkdir_in *)argument;
    Node *made;
    return make(worker, in, argument + sizeof *directory, S_IFDIR | (directory->mode & 07777), NULL,
                &made);
}

static int answer_open(Worker *worker, Node *node, uint32_t flags, uint32_t open_flags) {
    Handle *handle = malloc(sizeof *handle);
    *handle = (Handle){node, (flags & O_ACCMODE) != O_RDONLY};
    node->opens++;
    struct fuse_open_out *out = (struct fuse_open_out *)(worker->answer + worker->length);
    *out = (struct fuse_open_out){.fh = (uint64_t)handle, .open_flags = open_flags};
    worker->length += sizeof *out;
    return 0;
}

static int create(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_create_in *file = (const struct fuse_create_in *)argument;
    Node *made;
    int error = make(worker, in, argument + sizeof *file, S_IFREG | (file->mode & 07777), NULL,
                     &made);
    if (error) return error;
    made->unflushed = true;
    return answer_open(worker, made, file->flags, FOPEN_KEEP_CACHE);
}

/* The kernel keeps a file's pages over an open unless another mount changed it. */
static int open_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_open_in *open = (const struct fuse_open_in *)argument;
    Node *node = node_of(in->nodeid);
    bool stale = atomic_fetch_and(&node->stale, ~worker->mount->bit) & worker->mount->bit;
    if (open->flags & O_TRUNC) {
        worker->delay = write_ns;
        data_truncate(worker->mount, node, 0);
        node->modified = node->changed = wall();
        node->unflushed = true;
        changed_by(worker, node);
    }
    if (is_behind(worker->mount, node)) worker->behind = node;
    return answer_open(worker, node, open->flags, stale ? 0 : FOPEN_KEEP_CACHE);
}

static int opendir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)in, (void)argument;
    worker->length = sizeof(struct fuse_open_out);
    memset(worker->answer, 0, worker->length);
    return 0;
}

static int read_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_read_in *read = (const struct fuse_read_in *)argument;
    worker->read = node_of(in->nodeid);
    worker->offset = read->offset;
    worker->size = read->size;
    return 0;
}

static int write_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_write_in *write = (const struct fuse_write_in *)argument;
    Node *node = node_of(in->nodeid);
    pthread_mutex_unlock(&tree_lock);
    struct fuse_write_out *out = (struct fuse_write_out *)worker->answer;
    *out = (struct fuse_write_out){.size = write->size};
    worker->length = sizeof *out;
    bool cached = write->write_flags & FUSE_WRITE_CACHE;
    data_write(worker->mount, node, write->offset, write->size, &worker->block);
    node->unflushed = true;
    changed_by(worker, node);
    told(worker, node);
    pthread_mutex_lock(&tree_lock);
    if (!cached) node->modified = node->changed = wall();
    return 0;
}

static int flush(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_flush_in *flush = (const struct fuse_flush_in *)argument;
    Node *node = node_of(in->nodeid);
    bool writes = ((const Handle *)flush->fh)->writes;
    if (!writes || !atomic_exchange(&node->unflushed, false)) worker->delay = 0;
    else told(worker, node);
    lock_drop(node, worker->mount, flush->lock_owner);
    return 0;
}

static int release(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)worker;
    const struct fuse_release_in *release = (const struct fuse_release_in *)argument;
    Node *node = node_of(in->nodeid);
    free((Handle *)release->fh);
    node->opens--;
    node_settle(node);
    return 0;
}

static int nothing(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)worker, (void)in, (void)argument;
    return 0;
}

static void dropped(const Worker *worker, Entry *entry) {
    Node *node = entry->node;
    told(worker, entry->parent);
    told(worker, node);
    entry_remove(entry);
    node->links -= S_ISDIR(node->mode) ? 2 : 1;
    node->changed = wall();
    node_settle(node);
}

static int unlink_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Entry *entry = entry_find(node_of(in->nodeid), name, strlen(name));
    if (!entry) return -ENOENT;
    if (S_ISDIR(entry->node->mode)) return -EISDIR;
    dropped(worker, entry);
    return 0;
}

static int rmdir_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Entry *entry = entry_find(node_of(in->nodeid), name, strlen(name));
    if (!entry) return -ENOENT;
    if (!S_ISDIR(entry->node->mode)) return -ENOTDIR;
    if (entry->node->live) return -ENOTEMPTY;
    dropped(worker, entry);
    return 0;
}

static int rename_between(Worker *worker, Node *from, Node *to, const char *name) {
    const char *target = name + strlen(name) + 1;
    paid_by_miss(worker, to, target);
    Entry *entry = entry_find(from, name, strlen(name));
    Entry *over = entry_find(to, target, strlen(target));
    if (!entry || !to->links) return -ENOENT;
    if (over && over->node == entry->node) return 0;
    Node *node = entry->node;
    if (over) {
        bool directory = S_ISDIR(over->node->mode);
        if (directory && !S_ISDIR(node->mode)) return -EISDIR;
        if (!directory && S_ISDIR(node->mode)) return -ENOTDIR;
        if (directory && over->node->live) return -ENOTEMPTY;
        dropped(worker, over);
    }
    entry_remove(entry);
    entry_add(to, target, strlen(target), node);
    told(worker, from);
    told(worker, to);
    node->changed = wall();
    return 0;
}

static int rename_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_rename_in *to = (const struct fuse_rename_in *)argument;
    return rename_between(worker, node_of(in->nodeid), node_of(to->newdir), argument + sizeof *to);
}

static int link_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_link_in *link = (const struct fuse_link_in *)argument;
    const char *name = argument + sizeof *link;
    Node *parent = node_of(in->nodeid), *node = node_of(link->oldnodeid);
    paid_by_miss(worker, parent, name);
    if (!parent->links || !node->links) return -ENOENT;
    if (entry_find(parent, name, strlen(name))) return -EEXIST;
    node->links++;
    node->changed = wall();
    entry_add(parent, name, strlen(name), node);
    told(worker, parent);
    return answer_entry(worker, node);
}

/* Adds one entry to what READDIR answers; says whether it fitted. */
static bool list(Worker *worker, uint32_t room, bool plus, const char *name, uint32_t length,
                 uint64_t cookie, const Node *node) {
    size_t before = plus ? sizeof(struct fuse_entry_out) : 0;
    size_t size = before + FUSE_DIRENT_ALIGN(sizeof(struct fuse_dirent) + length);
    if (worker->length + size > room) return false;
    char *at = worker->answer + worker->length;
    memset(at, 0, size);
    struct fuse_dirent *entry = (struct fuse_dirent *)(at + before);
    *entry = (struct fuse_dirent){
        .ino = node->number, .off = cookie, .namelen = length, .type = node->mode >> 12};
    memcpy(entry->name, name, length);
    worker->length += (uint32_t)size;
    return true;
}

static int readdir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_read_in *read = (const struct fuse_read_in *)argument;
    Node *node = node_of(in->nodeid);
    bool plus = in->opcode == FUSE_READDIRPLUS;
    const Node *above = node->parent ? node->parent : node;
    uint32_t room = read->size < BLOCK ? read->size : BLOCK;
    if (read->offset < 1 && !list(worker, room, plus, ".", 1, 1, node)) return 0;
    if (read->offset < 2 && !list(worker, room, plus, "..", 2, 2, above)) return 0;
    for (size_t at = entry_after(node, read->offset); at < node->used; at++) {
        const Entry *entry = node->places[at].entry;
        if (!entry) continue;
        char *place = worker->answer + worker->length;
        if (!list(worker, room, plus, entry->name, entry->length, entry->cookie, entry->node))
            break;
        if (plus) fill_entry(entry->node, (struct fuse_entry_out *)place);
    }
    return 0;
}

static int statfs_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)in, (void)argument;
    struct fuse_statfs_out *out = (struct fuse_statfs_out *)worker->answer;
    *out = (struct fuse_statfs_out){.st = {.blocks = 1ull << 43, .bfree = 1ull << 43,
                                           .bavail = 1ull << 43, .bsize = BLOCK, .frsize = BLOCK,
                                           .namelen = 255}};
    worker->length = sizeof *out;
    return 0;
}

static int getlk(Worker *worker, const struct fuse_in_header *in, char *argument) {
    struct fuse_lk_out *out = (struct fuse_lk_out *)worker->answer;
    worker->length = sizeof *out;
    return lock_get(node_of(in->nodeid), worker->mount, (const struct fuse_lk_in *)argument,
                    &out->lk);
}

/* Whoever gets a lock sees what its holders before it wrote. */
static int setlk(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_lk_in *lock = (const struct fuse_lk_in *)argument;
    Node *node = node_of(in->nodeid);
    int error = lock_set(node, worker, in, lock);
    worker->pages = !error && lock->lk.type != F_UNLCK;
    if (worker->pages) worker->behind = node;
    return error;
}

static int init(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)in;
    const struct fuse_init_in *offer = (const struct fuse_init_in *)argument;
    uint32_t wanted = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
                      FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
                      FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV |
                      FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS;
    if ((offer->flags & wanted) != wanted)
        fprintf(stderr, "slow_fs: this kernel lacks %#x\n", wanted & ~offer->flags);
    struct fuse_init_out *out = (struct fuse_init_out *)worker->answer;
    *out = (struct fuse_init_out){
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = 16 * BLOCK,
        .flags = offer->flags & wanted,
        .max_background = 64,
        .congestion_threshold = 48,
        .max_write = BLOCK,
        .time_gran = 1,
        .max_pages = BLOCK / 4096,
    };
    worker->length = sizeof *out;
    return 0;
}

static void forget(uint64_t id, uint64_t count) {
    Node *node = node_of(id);
    node->lookups -= count;
    if (!node->lookups) node_settle(node);
}

/* Those that get no reply. */
static bool unanswered(const Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_batch_forget_in *batch = (const struct fuse_batch_forget_in *)argument;
    const struct fuse_forget_one *one = (const struct fuse_forget_one *)(batch + 1);
    switch (in->opcode) {
    case FUSE_FORGET:
        forget(in->nodeid, ((const struct fuse_forget_in *)argument)->nlookup);
        return true;
    case FUSE_BATCH_FORGET:
        for (uint32_t at = 0; at < batch->count; at++) forget(one[at].nodeid, one[at].nlookup);
        return true;
    case FUSE_INTERRUPT:
        lock_interrupt(worker->mount, ((const struct fuse_interrupt_in *)argument)->unique);
        return true;
    }
    return false;
}

static const struct {
    Operation *work;
    _Atomic int64_t *cost; /* NULL: none */
} OPERATIONS[KINDS] = {
    [FUSE_LOOKUP] = {lookup, &read_ns},     [FUSE_GETATTR] = {getattr, &read_ns},
    [FUSE_SETATTR] = {setattr, &write_ns},  [FUSE_READLINK] = {readlink_, &read_ns},
    [FUSE_SYMLINK] = {symlink_, &write_ns}, [FUSE_MKNOD] = {mknod_, &write_ns},
    [FUSE_MKDIR] = {mkdir_, &write_ns},     [FUSE_UNLINK] = {unlink_, &write_ns},
    [FUSE_RMDIR] = {rmdir_, &write_ns},     [FUSE_RENAME] = {rename_, &write_ns},
    [FUSE_LINK] = {link_, &write_ns},       [FUSE_OPEN] = {open_, &read_ns},
    [FUSE_READ] = {read_, &read_ns},        [FUSE_WRITE] = {write_, &write_ns},
    [FUSE_STATFS] = {statfs_, &read_ns},    [FUSE_RELEASE] = {release, NULL},
    [FUSE_FSYNC] = {nothing, &write_ns},    [FUSE_FLUSH] = {flush, &write_ns},
    [FUSE_OPENDIR] = {opendir_, NULL},      [FUSE_READDIR] = {readdir_, &read_ns},
    [FUSE_READDIRPLUS] = {readdir_, &read_ns}, [FUSE_RELEASEDIR] = {nothing, NULL},
    [FUSE_FSYNCDIR] = {nothing, &write_ns}, [FUSE_GETLK] = {getlk, &read_ns},
    [FUSE_SETLK] = {setlk, &write_ns},      [FUSE_SETLKW] = {setlk, &write_ns},
    [FUSE_CREATE] = {create, &write_ns},    [FUSE_INIT] = {init, NULL},
    [FUSE_DESTROY] = {nothing, NULL},
};

void serve(Worker *worker, const struct fuse_in_header *in, char *argument) {
    uint32_t kind = in->opcode;
    bool known = kind < KINDS && OPERATIONS[kind].work;
    worker->length = 0;
    worker->kept = false;
    worker->read = worker->behind = NULL;
    worker->pages = false;
    worker->began = now();
    worker->delay = known && OPERATIONS[kind].cost ? *OPERATIONS[kind].cost : 0;
    if (!known && kind != FUSE_FORGET && kind != FUSE_BATCH_FORGET && kind != FUSE_INTERRUPT) {
        reply_now(worker->mount, in->unique, -ENOSYS, NULL, 0);
        return;
    }
    if (known) reply_begin(kind);
    pthread_mutex_lock(&tree_lock);
    bool silent = unanswered(worker, in, argument);
    int error = silent ? 0 : OPERATIONS[kind].work(worker, in, argument);
    pthread_mutex_unlock(&tree_lock);
    if (silent || worker->kept) return;
    if (worker->delay <= 0 && !worker->behind) {
        if (worker->read)
            data_reply(worker->mount->fd, worker->read, worker->offset, worker->size, in->unique);
        else
            reply_now(worker->mount, in->unique, error, worker->answer, worker->length);
        reply_end(kind, worker->began);
        return;
    }
    Reply *reply = reply_new(worker->mount, in->unique, kind, worker->began, worker->length);
    reply->error = error;
    reply->read = worker->read;
    reply->behind = worker->behind;
    reply->pages = worker->pages;
    reply->offset = worker->offset;
    reply->size = worker->size;
    memcpy(reply->body, worker->answer, worker->length);
    reply_at(reply, worker->began + (uint64_t)worker->delay);
}
