/* POSIX locks of byte ranges: one table for all mounts, as on a server. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

struct Lock {
    Lock *next;
    const Mount *mount;
    uint64_t owner, start, end;
    uint32_t type, pid;
    Reply *waiting; /* the reply of a waiting lock; NULL for a held one */
};

/* The files with waiting locks, so that an interrupt finds them. */
static Node *waiting_nodes[1024];
static size_t waiting_count;

static bool same_owner(const Lock *one, const Lock *other) {
    return one->mount == other->mount && one->owner == other->owner;
}

static const Lock *conflict(const Node *node, const Lock *requested) {
    for (const Lock *held = node->locks; held; held = held->next)
        if (!held->waiting && !same_owner(held, requested) && held->start <= requested->end &&
            requested->start <= held->end && (held->type == F_WRLCK || requested->type == F_WRLCK))
            return held;
    return NULL;
}

static void insert(Node *node, Lock lock) {
    Lock *kept = malloc(sizeof *kept);
    *kept = lock;
    kept->next = node->locks;
    node->locks = kept;
}

/* Remove a range from all locks of its owner. */
static void carve(Node *node, const Lock *range) {
    for (Lock **link = &node->locks, *held; (held = *link);) {
        bool touched = !held->waiting && same_owner(held, range) && held->start <= range->end &&
                       range->start <= held->end;
        if (!touched) {
            link = &held->next;
            continue;
        }
        Lock left = *held;
        *link = held->next;
        free(held);
        Lock *rest = *link;
        if (left.start < range->start) {
            Lock before = left;
            before.end = range->start - 1;
            insert(node, before);
        }
        if (left.end > range->end) {
            Lock after = left;
            after.start = range->end + 1;
            insert(node, after);
        }
        if (link == &node->locks) /* skip the inserted locks */
            while (*link != rest) link = &(*link)->next;
    }
}

static void hold(Node *node, const Lock *requested) {
    carve(node, requested);
    if (requested->type != F_UNLCK) insert(node, *requested);
}

static void forget_waiting(const Node *node) {
    for (size_t at = 0; at < waiting_count; at++)
        if (waiting_nodes[at] == node) {
            waiting_nodes[at] = waiting_nodes[--waiting_count];
            return;
        }
}

static void answer(Node *node, Lock **link, int error) {
    Lock *lock = *link;
    Reply *reply = lock->waiting;
    *link = lock->next;
    free(lock);
    forget_waiting(node);
    reply->error = error;
    reply->behind = error ? NULL : node;
    reply->pages = true;
    reply_at(reply, now() + (uint64_t)write_ns); /* sooner than NFS, whose client asks again */
}

/* Grant waiting locks that no longer conflict. */
static void wake(Node *node) {
    for (Lock **link = &node->locks, *lock; (lock = *link);) {
        if (!lock->waiting || conflict(node, lock)) {
            link = &lock->next;
            continue;
        }
        Lock held = *lock;
        held.waiting = NULL;
        answer(node, link, 0);
        hold(node, &held);
        link = &node->locks;
    }
}

static bool is_full(const Node *node) {
    size_t count = 0;
    for (const Lock *lock = node->locks; lock; lock = lock->next) count += !lock->waiting;
    return count >= FILE_LOCKS;
}

static Lock requested_lock(const Mount *mount, const struct fuse_lk_in *in) {
    return (Lock){.mount = mount, .owner = in->owner, .start = in->lk.start, .end = in->lk.end,
                  .type = in->lk.type, .pid = in->lk.pid};
}

int lock_get(Node *node, const Mount *mount, const struct fuse_lk_in *in,
             struct fuse_file_lock *out) {
    Lock requested = requested_lock(mount, in);
    const Lock *held = conflict(node, &requested);
    *out = in->lk;
    out->type = F_UNLCK;
    if (held) *out = (struct fuse_file_lock){held->start, held->end, held->type, held->pid};
    return 0;
}

int lock_set(Node *node, Worker *worker, const struct fuse_in_header *in,
             const struct fuse_lk_in *lock) {
    Lock requested = requested_lock(worker->mount, lock);
    if (requested.type == F_UNLCK) {
        carve(node, &requested);
        wake(node);
        return 0;
    }
    if (is_full(node)) return -ENOLCK;
    if (!conflict(node, &requested)) {
        hold(node, &requested);
        wake(node); /* a write lock may have become a read lock */
        return 0;
    }
    if (in->opcode == FUSE_SETLK) return -EAGAIN;
    if (waiting_count == sizeof waiting_nodes / sizeof *waiting_nodes) return -ENOLCK;
    waiting_nodes[waiting_count++] = node;
    requested.waiting = reply_new(worker->mount, in->unique, 0);
    insert(node, requested);
    worker->kept = true;
    return 0;
}

void lock_drop(Node *node, const Mount *mount, uint64_t owner) {
    if (!node->locks) return;
    Lock all = {.mount = mount, .owner = owner, .start = 0, .end = UINT64_MAX};
    carve(node, &all);
    wake(node);
}

void lock_interrupt(const Mount *mount, uint64_t unique) {
    for (size_t at = 0; at < waiting_count; at++) {
        Node *node = waiting_nodes[at];
        for (Lock **link = &node->locks; *link; link = &(*link)->next) {
            const Reply *waiting = (*link)->waiting;
            if (waiting && waiting->mount == mount && waiting->unique == unique) {
                answer(node, link, -EINTR);
                return;
            }
        }
    }
}
