/* The content of files: blocks of up to 1 MiB, none for holes, never copied to grow a file. */
#include "fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLAB (32 * BLOCK)

static char zeros[1 << 20];
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static char *pool; /* each free block begins with the address of the next one */
static char *fresh, *fresh_end;

/* Return an uninitialized block, from the pool or from a slab of huge pages. */
char *block_new(void) {
    pthread_mutex_lock(&pool_lock);
    char *block = pool;
    if (block) {
        pool = *(char **)block;
    } else {
        if (fresh == fresh_end) {
            fresh = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (fresh == MAP_FAILED) {
                perror("slow_fs: mmap");
                abort();
            }
            fresh_end = fresh + SLAB;
            madvise(fresh, SLAB, MADV_HUGEPAGE);
        }
        block = fresh;
        fresh += BLOCK;
    }
    pthread_mutex_unlock(&pool_lock);
    return block;
}

static void block_free(char *block) {
    pthread_mutex_lock(&pool_lock);
    *(char **)block = pool;
    pool = block;
    pthread_mutex_unlock(&pool_lock);
}

/* Allocate memory in advance: a real server would not take this machine's time for it. */
void data_ready(size_t bytes) {
    char *taken = NULL;
    for (; bytes >= BLOCK; bytes -= BLOCK) {
        char *block = block_new();
        memset(block, 0, BLOCK);
        *(char **)block = taken;
        taken = block;
    }
    while (taken) {
        char *next = *(char **)taken;
        block_free(taken);
        taken = next;
    }
}

static void bytes_free(Block *block) {
    if (block->room == BLOCK) block_free(block->bytes);
    else free(block->bytes);
    *block = (Block){0};
}

/* Make room for the first `end` bytes of a block, filled with zeros. */
static void reserve(Block *block, size_t end, bool only) {
    if (block->room >= end) return;
    size_t room = 512;
    while (room < end) room *= 2;
    if (!only) room = BLOCK;
    char *bytes = room == BLOCK ? block_new() : malloc(room);
    if (block->room) memcpy(bytes, block->bytes, block->room);
    memset(bytes + block->room, 0, room - block->room);
    if (block->room) bytes_free(block);
    *block = (Block){bytes, room};
}

static void cover(Node *node, uint64_t end) {
    size_t count = (size_t)((end + BLOCK - 1) / BLOCK);
    if (count <= node->count) return;
    size_t room = node->count ? node->count : 1;
    while (room < count) room *= 2;
    node->blocks = realloc(node->blocks, room * sizeof *node->blocks);
    memset(node->blocks + node->count, 0, (room - node->count) * sizeof *node->blocks);
    node->count = room;
}

/* Write to a file; a whole block is not copied but kept, and *bytes becomes a new one. */
void data_write(const Mount *mount, Node *node, uint64_t offset, size_t size, char **bytes) {
    pthread_mutex_lock(&node->data);
    uint64_t end = offset + size;
    cover(node, end);
    const char *from = *bytes;
    if (size == BLOCK && offset % BLOCK == 0) {
        Block *block = &node->blocks[offset / BLOCK];
        if (block->room) bytes_free(block);
        *block = (Block){*bytes, BLOCK};
        *bytes = block_new();
    } else {
        while (size) {
            size_t within = offset % BLOCK, count = BLOCK - within < size ? BLOCK - within : size;
            Block *block = &node->blocks[offset / BLOCK];
            reserve(block, within + count, offset / BLOCK == 0);
            memcpy(block->bytes + within, from, count);
            from += count, offset += count, size -= count;
        }
    }
    if (end > node->size) node->size = end;
    if (node->known && node->known[mount->number] < end) node->known[mount->number] = end;
    pthread_mutex_unlock(&node->data);
}

/* Answer a READ with the current content of the file. */
ssize_t data_reply(int fd, Node *node, uint64_t offset, size_t size, uint64_t unique) {
    struct iovec pieces[16];
    int used = 1;
    pthread_mutex_lock(&node->data);
    uint64_t length = node->size;
    if (offset >= length) size = 0;
    else if (size > length - offset) size = (size_t)(length - offset);
    struct fuse_out_header out = {.len = (uint32_t)(sizeof out + size), .unique = unique};
    pieces[0] = (struct iovec){&out, sizeof out};
    while (size) {
        size_t within = offset % BLOCK, count = BLOCK - within < size ? BLOCK - within : size;
        size_t index = (size_t)(offset / BLOCK);
        size_t room = index < node->count ? node->blocks[index].room : 0;
        size_t held = room > within ? (room - within < count ? room - within : count) : 0;
        if (held) pieces[used++] = (struct iovec){node->blocks[index].bytes + within, held};
        if (count > held) pieces[used++] = (struct iovec){zeros, count - held};
        offset += count, size -= count;
    }
    ssize_t sent = writev(fd, pieces, used);
    pthread_mutex_unlock(&node->data);
    if (sent < 0 && errno != ENOENT && errno != ENODEV)
        fprintf(stderr, "slow_fs: a reply of data was refused: %s\n", strerror(errno));
    return sent;
}

void data_truncate(const Mount *mount, Node *node, uint64_t size) {
    pthread_mutex_lock(&node->data);
    if (size < node->size) {
        size_t keep = (size_t)((size + BLOCK - 1) / BLOCK), within = size % BLOCK;
        for (size_t index = keep; index < node->count; index++)
            if (node->blocks[index].room) bytes_free(&node->blocks[index]);
        if (within && keep <= node->count) {
            Block *last = &node->blocks[keep - 1];
            if (last->room > within) memset(last->bytes + within, 0, last->room - within);
        }
    }
    node->size = size;
    if (node->known && mount) node->known[mount->number] = size;
    pthread_mutex_unlock(&node->data);
}

void data_free(Node *node) {
    data_truncate(NULL, node, 0);
    free(node->blocks);
    node->blocks = NULL;
    node->count = 0;
}
