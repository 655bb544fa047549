/* Replies: sent at once, or when the limits let them, and counted. */
#include "fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TOGETHER 50000 /* ns: replies due within this time are sent together */

/* Slow replies have their own threads, so that they do not delay others: READ copies data, and
   notifications of other mounts' changes may wait for pages being written. A third thread sends
   the replies of locks that another mount's thread has released. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t earlier;
    Heap held;
} Queue;

static Queue queues[3];
static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t counts[KINDS], held, since;

static const char *const NAMES[KINDS] = {
    [FUSE_LOOKUP] = "lookup", [FUSE_GETATTR] = "getattr", [FUSE_SETATTR] = "setattr",
    [FUSE_READLINK] = "readlink", [FUSE_SYMLINK] = "symlink", [FUSE_MKNOD] = "mknod",
    [FUSE_MKDIR] = "mkdir", [FUSE_UNLINK] = "unlink", [FUSE_RMDIR] = "rmdir",
    [FUSE_RENAME] = "rename", [FUSE_RENAME2] = "rename2", [FUSE_LINK] = "link",
    [FUSE_OPEN] = "open", [FUSE_READ] = "read", [FUSE_WRITE] = "write", [FUSE_STATFS] = "statfs",
    [FUSE_RELEASE] = "release", [FUSE_FSYNC] = "fsync", [FUSE_FLUSH] = "flush",
    [FUSE_OPENDIR] = "opendir", [FUSE_READDIR] = "readdir", [FUSE_READDIRPLUS] = "readdirplus",
    [FUSE_RELEASEDIR] = "releasedir", [FUSE_FSYNCDIR] = "fsyncdir", [FUSE_GETLK] = "getlk",
    [FUSE_SETLK] = "setlk", [FUSE_SETLKW] = "setlkw", [FUSE_CREATE] = "create",
};

uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void count_request(uint32_t kind) {
    if (kind < KINDS) atomic_fetch_add(&counts[kind], 1);
}

void reply_now(Mount *mount, uint64_t unique, int error, const void *body, size_t length) {
    struct fuse_out_header out = {.error = error, .unique = unique};
    if (error) length = 0;
    out.len = (uint32_t)(sizeof out + length);
    struct iovec pieces[2] = {{&out, sizeof out}, {(void *)body, length}};
    /* ENOENT: the waiting process was killed. */
    if (writev(mount->fd, pieces, 2) < 0 && errno != ENOENT && errno != ENODEV)
        fprintf(stderr, "slow_fs: a reply was refused: %s\n", strerror(errno));
}

Reply *reply_new(Mount *mount, uint64_t unique, size_t length) {
    Reply *reply = malloc(sizeof *reply + length);
    *reply = (Reply){.mount = mount, .unique = unique, .length = (uint32_t)length};
    return reply;
}

static void send_reply(Reply *reply) {
    if (reply->behind) catch_up(reply->mount, reply->behind, reply->pages);
    if (reply->read)
        data_reply(reply->mount->fd, reply->read, reply->offset, reply->size, reply->unique);
    else
        reply_now(reply->mount, reply->unique, reply->error, reply->body, reply->length);
    free(reply);
}

static void push(Heap *heap, Reply *reply) {
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 1024;
        heap->replies = realloc(heap->replies, heap->room * sizeof *heap->replies);
    }
    Reply **all = heap->replies;
    size_t at = heap->count++;
    for (; at && all[(at - 1) / 2]->request.due > reply->request.due; at = (at - 1) / 2)
        all[at] = all[(at - 1) / 2];
    all[at] = reply;
}

static Reply *pop(Heap *heap) {
    Reply **all = heap->replies, *top = all[0], *moved = all[--heap->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && all[child + 1]->request.due < all[child]->request.due) child++;
        if (all[child]->request.due >= moved->request.due) break;
        all[at] = all[child];
    }
    all[at] = moved;
    return top;
}

/* Return the time until the first reply is due; 0 if it is. */
static int64_t until_first(const Heap *heap) {
    int64_t left = (int64_t)(heap->replies[0]->request.due - now());
    return left > TOGETHER ? left : 0;
}

void reply_at(Reply *reply, uint64_t due) {
    Queue *queue = &queues[reply->read ? 1 : reply->behind ? 2 : 0];
    reply->request.due = due;
    pthread_mutex_lock(&queue->lock);
    push(&queue->held, reply);
    bool first_due = queue->held.replies[0] == reply;
    pthread_mutex_unlock(&queue->lock);
    if (first_due) pthread_cond_signal(&queue->earlier);
}

/* Give all requests that have a slot by now to the threads that send their replies. A mount whose
   request waits looks again by itself when a slot becomes free: nobody has to wake its thread. */
static void start_requests(void) {
    for (Request *request; (request = limits_start(now()));) {
        Reply *reply = (Reply *)request;
        reply->mount->waiting--;
        if (reply->read || reply->behind) reply_at(reply, request->due);
        else push(&reply->mount->held, reply);
    }
}

void reply_limited(Reply *reply) {
    atomic_fetch_add(&held, 1);
    pthread_mutex_lock(&limits_lock);
    reply->mount->waiting++;
    limits_arrive(&reply->request, now());
    start_requests();
    pthread_mutex_unlock(&limits_lock);
}

int64_t replies_send(Mount *mount) {
    for (;;) {
        Reply *reply = NULL;
        pthread_mutex_lock(&limits_lock);
        start_requests();
        int64_t left = mount->held.count ? until_first(&mount->held) : -1;
        if (!left) reply = pop(&mount->held);
        if (mount->waiting) {
            int64_t start = (int64_t)(limits_next(mount->node) - now());
            if (start < 0) start = 0;
            if (left < 0 || start < left) left = start;
        }
        pthread_mutex_unlock(&limits_lock);
        if (!reply) return left;
        send_reply(reply);
    }
}

static void *send_in_time(void *argument) {
    Queue *queue = argument;
    prctl(PR_SET_TIMERSLACK, 1000);
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        if (!queue->held.count) {
            pthread_cond_wait(&queue->earlier, &queue->lock);
            continue;
        }
        if (until_first(&queue->held)) {
            uint64_t due = queue->held.replies[0]->request.due;
            struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            pthread_cond_timedwait(&queue->earlier, &queue->lock, &until);
            continue;
        }
        Reply *reply = pop(&queue->held);
        pthread_mutex_unlock(&queue->lock);
        send_reply(reply);
        pthread_mutex_lock(&queue->lock);
    }
    return NULL;
}

void replies_start(void) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (Queue *queue = queues; queue < queues + 3; queue++) {
        pthread_t thread;
        pthread_mutex_init(&queue->lock, NULL);
        pthread_cond_init(&queue->earlier, &monotonic);
        pthread_create(&thread, NULL, send_in_time, queue);
    }
    counters_reset();
}

void counters_one_trip(void) { atomic_fetch_sub(&held, 1); }

void counters_reset(void) {
    for (int kind = 0; kind < KINDS; kind++) atomic_store(&counts[kind], 0);
    atomic_store(&held, 0);
    atomic_store(&since, now());
    pthread_mutex_lock(&limits_lock);
    limits_reset_usage();
    pthread_mutex_unlock(&limits_lock);
}

/* Print one line of JSON. Means cover the time from the first request to the last reply. */
int counters_print(char *text, size_t room) {
    pthread_mutex_lock(&limits_lock);
    Usage usage = *limits_usage();
    pthread_mutex_unlock(&limits_lock);
    double busy = usage.requests ? (double)(usage.last - usage.first) : 1;
    int used = snprintf(text, room,
                        "{\"seconds\": %.6f, \"largest\": %zu, \"mean\": %.3f, "
                        "\"waiting\": %.3f, \"held\": %llu, \"operations\": {",
                        (double)(now() - atomic_load(&since)) / 1e9, usage.largest,
                        (double)usage.served / busy, (double)usage.waited / busy,
                        (unsigned long long)atomic_load(&held));
    const char *between = "";
    for (int kind = 0; kind < KINDS; kind++) {
        if (!NAMES[kind] || !counts[kind]) continue;
        used += snprintf(text + used, room - (size_t)used, "%s\"%s\": %llu", between, NAMES[kind],
                         (unsigned long long)atomic_load(&counts[kind]));
        between = ", ";
    }
    used += snprintf(text + used, room - (size_t)used, "}, \"by_node\": [");
    for (unsigned node = 0; node < MAX_NODES; node++)
        used += snprintf(text + used, room - (size_t)used, "%s%llu", node ? ", " : "",
                         (unsigned long long)usage.by_node[node]);
    return used + snprintf(text + used, room - (size_t)used, "]}\n");
}
