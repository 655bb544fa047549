/* The operations on names: look up, create, remove, rename, list. */
#include "operations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MISSES 4096
#define SOON 100000000u /* ns */

/* Names that a LOOKUP has just missed. An NFS client creates a file in one round trip, but FUSE
   looks its name up first: the delay of that LOOKUP is subtracted from that of the creation. */
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
        if (worker->delay > 0) counters_one_trip();
    }
    misses[hash % MISSES].parent = NULL;
}

int lookup(Worker *worker, const struct fuse_in_header *in, char *name) {
    Node *parent = node_of(in->nodeid);
    const Entry *entry = entry_find(parent, name, strlen(name));
    if (!entry) {
        missed(parent, name);
        return -ENOENT;
    }
    if (is_behind(worker->mount, entry->node)) worker->behind = entry->node;
    return answer_entry(worker, entry->node);
}

int readlink_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)argument;
    const Node *node = node_of(in->nodeid);
    worker->length = (uint32_t)strlen(node->target);
    memcpy(worker->answer, node->target, worker->length);
    return 0;
}

/* Create a node with a name, and answer with it. */
static int make(Worker *worker, const struct fuse_in_header *in, const char *name, uint32_t mode,
                const char *target, Node **made) {
    Node *parent = node_of(in->nodeid);
    paid_by_miss(worker, parent, name);
    if (!parent->links) return -ENOENT;
    if (entry_find(parent, name, strlen(name))) return -EEXIST;
    *made = node_new(mode, in);
    if (target) (*made)->target = strdup(target);
    entry_add(parent, name, strlen(name), *made);
    attributes_sent(worker, parent);
    return answer_entry(worker, *made);
}

int symlink_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Node *made;
    return make(worker, in, name, S_IFLNK | 0777, name + strlen(name) + 1, &made);
}

int mknod_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_mknod_in *node = (const struct fuse_mknod_in *)argument;
    Node *made;
    int error = make(worker, in, argument + sizeof *node, node->mode, NULL, &made);
    if (!error) made->device = node->rdev;
    return error;
}

int mkdir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_mkdir_in *directory = (const struct fuse_mkdir_in *)argument;
    Node *made;
    return make(worker, in, argument + sizeof *directory, S_IFDIR | (directory->mode & 07777), NULL,
                &made);
}

int create(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_create_in *file = (const struct fuse_create_in *)argument;
    const char *name = argument + sizeof *file;
    Node *parent = node_of(in->nodeid);
    const Entry *entry = entry_find(parent, name, strlen(name));
    if (entry && S_ISREG(entry->node->mode) && !(file->flags & O_EXCL)) {
        /* Another mount created it first: as with NFS's OPEN, open the existing file. */
        paid_by_miss(worker, parent, name);
        answer_entry(worker, entry->node);
        return open_existing(worker, entry->node, file->flags);
    }
    Node *made;
    int error = make(worker, in, name, S_IFREG | (file->mode & 07777), NULL, &made);
    if (error) return error;
    made->unflushed = true;
    return answer_open(worker, made, file->flags, FOPEN_KEEP_CACHE);
}

int link_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_link_in *link = (const struct fuse_link_in *)argument;
    const char *name = argument + sizeof *link;
    Node *parent = node_of(in->nodeid), *node = node_of(link->oldnodeid);
    paid_by_miss(worker, parent, name);
    if (!parent->links || !node->links) return -ENOENT;
    if (entry_find(parent, name, strlen(name))) return -EEXIST;
    node->links++;
    node->changed = wall();
    entry_add(parent, name, strlen(name), node);
    attributes_sent(worker, parent);
    return answer_entry(worker, node);
}

static void unlink_entry(const Worker *worker, Entry *entry) {
    Node *node = entry->node;
    attributes_sent(worker, entry->parent);
    attributes_sent(worker, node);
    entry_remove(entry);
    node->links -= S_ISDIR(node->mode) ? 2 : 1;
    node->changed = wall();
    node_settle(node);
}

int unlink_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Entry *entry = entry_find(node_of(in->nodeid), name, strlen(name));
    if (!entry) return -ENOENT;
    if (S_ISDIR(entry->node->mode)) return -EISDIR;
    unlink_entry(worker, entry);
    return 0;
}

int rmdir_(Worker *worker, const struct fuse_in_header *in, char *name) {
    Entry *entry = entry_find(node_of(in->nodeid), name, strlen(name));
    if (!entry) return -ENOENT;
    if (!S_ISDIR(entry->node->mode)) return -ENOTDIR;
    if (entry->node->live) return -ENOTEMPTY;
    unlink_entry(worker, entry);
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
        unlink_entry(worker, over);
    }
    entry_remove(entry);
    entry_add(to, target, strlen(target), node);
    attributes_sent(worker, from);
    attributes_sent(worker, to);
    node->changed = wall();
    return 0;
}

int rename_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_rename_in *to = (const struct fuse_rename_in *)argument;
    return rename_between(worker, node_of(in->nodeid), node_of(to->newdir), argument + sizeof *to);
}

/* Add an entry to the answer of READDIR; return whether there was room. */
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

int readdir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    const struct fuse_read_in *read = (const struct fuse_read_in *)argument;
    Node *node = node_of(in->nodeid);
    bool plus = in->opcode == FUSE_READDIRPLUS;
    const Node *above = node->parent ? node->parent : node;
    uint32_t room = read->size < BLOCK ? read->size : BLOCK;
    if (read->offset < 1 && !list(worker, room, plus, ".", 1, 1, node)) return 0;
    if (read->offset < 2 && !list(worker, room, plus, "..", 2, 2, above)) return 0;
    for (size_t at = entry_after(node, read->offset); at < node->used; at++) {
        const Entry *entry = node->slots[at].entry;
        if (!entry) continue;
        char *slot = worker->answer + worker->length;
        if (!list(worker, room, plus, entry->name, entry->length, entry->cookie, entry->node))
            break;
        if (plus) fill_entry(entry->node, (struct fuse_entry_out *)slot);
    }
    return 0;
}
