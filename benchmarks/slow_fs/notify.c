/* Notifications to a mount's kernel about what other mounts have written. */
#include "fs.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

bool is_behind(const Mount *mount, Node *node) {
    if (!node->known) return false;
    pthread_mutex_lock(&node->data);
    bool behind = node->known[mount->number] < node->size;
    pthread_mutex_unlock(&node->data);
    return behind;
}

/* Notify a mount's kernel that another mount extended a file: with a write-back cache the kernel
   keeps its own size until the last byte is stored there. `pages` also drops its cached pages. */
void catch_up(const Mount *mount, Node *node, bool pages) {
    struct {
        struct fuse_out_header out;
        struct fuse_notify_store_out store;
        char last;
    } longer = {.store = {.nodeid = id_of(node), .size = 1}};
    struct {
        struct fuse_out_header out;
        struct fuse_notify_inval_inode_out inval;
    } older = {{sizeof older, FUSE_NOTIFY_INVAL_INODE, 0}, {.ino = id_of(node)}};
    longer.out = (struct fuse_out_header){offsetof(typeof(longer), last) + 1, FUSE_NOTIFY_STORE, 0};
    if (!node->known) return;
    pthread_mutex_lock(&node->data);
    uint64_t size = node->size;
    bool notify = node->known[mount->number] < size;
    if (notify) {
        const Block *block = &node->blocks[(size - 1) / BLOCK];
        size_t within = (size - 1) % BLOCK;
        node->known[mount->number] = size;
        longer.store.offset = size - 1;
        if ((size - 1) / BLOCK < node->count && within < block->room)
            longer.last = block->bytes[within];
    }
    pthread_mutex_unlock(&node->data);
    /* ENOENT: the kernel does not know the file. */
    if (notify && write(mount->fd, &longer, longer.out.len) < 0 && errno != ENOENT)
        perror("slow_fs: a file's size");
    if (!pages || !(atomic_fetch_and(&node->stale, ~mount->bit) & mount->bit)) return;
    if (write(mount->fd, &older, sizeof older) < 0 && errno != ENOENT)
        perror("slow_fs: a file's pages");
}
