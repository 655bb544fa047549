/* The tree: nodes, and their names in directories. */
#include "fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BUCKETS ((size_t)1 << 20)

pthread_mutex_t tree_lock = PTHREAD_MUTEX_INITIALIZER;
Node *root;
static Entry *buckets[BUCKETS];
static uint64_t numbers;

Node *node_of(uint64_t id) { return id == FUSE_ROOT_ID ? root : (Node *)id; }

uint64_t id_of(const Node *node) { return node == root ? FUSE_ROOT_ID : (uint64_t)node; }

struct timespec wall(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

Node *node_new(uint32_t mode, const struct fuse_in_header *in) {
    Node *node = calloc(1, sizeof *node);
    node->number = ++numbers;
    node->mode = mode;
    node->uid = in ? in->uid : 0;
    node->gid = in ? in->gid : 0;
    node->links = S_ISDIR(mode) ? 2 : 1;
    node->cookie = 2; /* 1 and 2 are . and .. */
    node->accessed = node->modified = node->changed = wall();
    if (mounts > 1 && S_ISREG(mode)) node->known = calloc((size_t)mounts, sizeof *node->known);
    pthread_mutex_init(&node->data, NULL);
    return node;
}

void node_settle(Node *node) {
    if (node->links || node->opens || node == root) return;
    data_free(node);
    if (node->lookups) return;
    free(node->known);
    free(node->target);
    free(node->slots);
    pthread_mutex_destroy(&node->data);
    free(node);
}

uint64_t hash_of(const Node *parent, const char *name, size_t length) {
    uint64_t hash = 14695981039346656037u ^ ((uint64_t)parent >> 4);
    for (size_t at = 0; at < length; at++) hash = (hash ^ (uint8_t)name[at]) * 1099511628211u;
    return hash ^ hash >> 29;
}

Entry *entry_find(const Node *parent, const char *name, size_t length) {
    uint64_t hash = hash_of(parent, name, length);
    for (Entry *entry = buckets[hash % BUCKETS]; entry; entry = entry->next)
        if (entry->hash == hash && entry->parent == parent && entry->length == length &&
            !memcmp(entry->name, name, length))
            return entry;
    return NULL;
}

static void touch(Node *directory) { directory->modified = directory->changed = wall(); }

void entry_add(Node *parent, const char *name, size_t length, Node *node) {
    Entry *entry = malloc(sizeof *entry + length + 1);
    *entry = (Entry){.parent = parent, .node = node, .length = (uint32_t)length};
    memcpy(entry->name, name, length + 1);
    entry->hash = hash_of(parent, name, length);
    entry->cookie = ++parent->cookie;
    entry->next = buckets[entry->hash % BUCKETS];
    buckets[entry->hash % BUCKETS] = entry;
    if (parent->used == parent->room) {
        parent->room = parent->room ? parent->room * 2 : 8;
        parent->slots = realloc(parent->slots, parent->room * sizeof(Slot));
    }
    parent->slots[parent->used++] = (Slot){entry->cookie, entry};
    parent->live++;
    if (S_ISDIR(node->mode)) {
        node->parent = parent;
        parent->links++;
    }
    touch(parent);
}

/* Return the first slot whose cookie is greater than this one. */
size_t entry_after(const Node *directory, uint64_t cookie) {
    size_t low = 0, high = directory->used;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (directory->slots[middle].cookie > cookie) high = middle;
        else low = middle + 1;
    }
    return low;
}

static void compact(Node *directory) {
    size_t kept = 0;
    for (size_t at = 0; at < directory->used; at++)
        if (directory->slots[at].entry) directory->slots[kept++] = directory->slots[at];
    directory->used = kept;
}

void entry_remove(Entry *entry) {
    Node *parent = entry->parent;
    Entry **link = &buckets[entry->hash % BUCKETS];
    while (*link != entry) link = &(*link)->next;
    *link = entry->next;
    parent->slots[entry_after(parent, entry->cookie - 1)].entry = NULL;
    parent->live--;
    if (parent->used > 32 && parent->live < parent->used / 2) compact(parent);
    if (S_ISDIR(entry->node->mode)) parent->links--;
    touch(parent);
    free(entry);
}

void node_attributes(const Node *node, struct fuse_attr *out) {
    uint64_t size = S_ISLNK(node->mode) ? strlen(node->target)
                    : S_ISDIR(node->mode) ? 4096
                                          : node->size;
    *out = (struct fuse_attr){
        .ino = node->number,
        .size = size,
        .blocks = (size + 511) / 512,
        .atime = (uint64_t)node->accessed.tv_sec,
        .mtime = (uint64_t)node->modified.tv_sec,
        .ctime = (uint64_t)node->changed.tv_sec,
        .atimensec = (uint32_t)node->accessed.tv_nsec,
        .mtimensec = (uint32_t)node->modified.tv_nsec,
        .ctimensec = (uint32_t)node->changed.tv_nsec,
        .mode = node->mode,
        .nlink = node->links,
        .uid = node->uid,
        .gid = node->gid,
        .rdev = node->device,
        .blksize = BLOCK,
    };
}
