/* The requests: their delays and the functions that implement them. */
#include "operations.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int opendir_(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)in, (void)argument;
    worker->length = sizeof(struct fuse_open_out);
    memset(worker->answer, 0, worker->length);
    return 0;
}

static int nothing(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)worker, (void)in, (void)argument;
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

static int init(Worker *worker, const struct fuse_in_header *in, char *argument) {
    (void)in;
    const struct fuse_init_in *offer = (const struct fuse_init_in *)argument;
    uint32_t required = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
                      FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
                      FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV |
                      FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS;
    if ((offer->flags & required) != required)
        fprintf(stderr, "slow_fs: this kernel lacks %#x\n", required & ~offer->flags);
    struct fuse_init_out *out = (struct fuse_init_out *)worker->answer;
    *out = (struct fuse_init_out){
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = 16 * BLOCK,
        .flags = offer->flags & required,
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

/* Handle requests without a reply; return whether it is one. */
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
    _Atomic int64_t *delay; /* NULL for none */
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
    worker->delay = known && OPERATIONS[kind].delay ? *OPERATIONS[kind].delay : 0;
    worker->direction = known && OPERATIONS[kind].delay == &write_ns ? WRITES : READS;
    worker->bytes = 0;
    if (!known && kind != FUSE_FORGET && kind != FUSE_BATCH_FORGET && kind != FUSE_INTERRUPT) {
        reply_now(worker->mount, in->unique, -ENOSYS, NULL, 0);
        return;
    }
    if (known) count_request(kind);
    pthread_mutex_lock(&tree_lock);
    bool silent = unanswered(worker, in, argument);
    int error = silent ? 0 : OPERATIONS[kind].work(worker, in, argument);
    pthread_mutex_unlock(&tree_lock);
    if (silent || worker->kept) return;
    bool trip = worker->delay > 0;
    if (!trip && !worker->behind) {
        if (worker->read)
            data_reply(worker->mount->fd, worker->read, worker->offset, worker->size, in->unique);
        else
            reply_now(worker->mount, in->unique, error, worker->answer, worker->length);
        return;
    }
    Reply *reply = reply_new(worker->mount, in->unique, worker->length);
    reply->error = error;
    reply->read = worker->read;
    reply->behind = worker->behind;
    reply->pages = worker->pages;
    reply->offset = worker->offset;
    reply->size = worker->size;
    memcpy(reply->body, worker->answer, worker->length);
    reply->request = (Request){.node = worker->mount->node,
                               .direction = worker->direction,
                               .bytes = worker->bytes,
                               .latency = (uint64_t)(trip ? worker->delay : 0)};
    if (trip) reply_limited(reply);
    else reply_at(reply, worker->began);
}
