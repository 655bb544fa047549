/* A FUSE file system in memory that delays and limits requests like a remote one: the common
   declarations. */
#ifndef SLOW_FS_H
#define SLOW_FS_H

#define _GNU_SOURCE
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "limits.h"

#define BLOCK ((size_t)1 << 20) /* the size of a file's blocks, and of the largest WRITE */
#define MOUNTS 31               /* one bit each */
#define FILE_LOCKS 512          /* EFS's limit of the locks of one file */
#define KINDS 64                /* the number of counted operation codes */

typedef struct Node Node;
typedef struct Entry Entry;
typedef struct Lock Lock;

typedef struct Reply Reply;

/* A heap of replies with the next due one at the top. */
typedef struct {
    Reply **replies;
    size_t count, room;
} Heap;

typedef struct {
    int number;
    uint32_t bit;
    int fd; /* of /dev/fuse */
    unsigned node;
    const char *path;
    /* Guarded by the lock of the limits. */
    Heap held;
    size_t waiting; /* requests without a slot */
} Mount;

typedef struct {
    char *bytes;
    size_t room;
} Block;

struct Entry {
    Entry *next; /* in the bucket of the hash table */
    Node *parent;
    Node *node;
    uint64_t hash;
    uint64_t cookie; /* the position after which READDIR continues */
    uint32_t length;
    char name[];
};

typedef struct {
    uint64_t cookie;
    Entry *entry; /* NULL for a removed entry */
} Slot;

struct Node {
    /* Guarded by tree_lock, except for atomic members. */
    uint64_t number, lookups, opens;
    uint32_t mode, uid, gid, links, device;
    _Atomic uint64_t size;
    _Atomic uint32_t stale;  /* the mounts whose kernel may have older pages */
    _Atomic uint32_t sent;   /* the mounts that got the attributes with their own change */
    _Atomic uint64_t sent_at;
    atomic_bool unflushed;   /* created or written since the last close of a writer */
    struct timespec accessed, modified, changed;
    char *target;            /* of a symbolic link */
    Node *parent;            /* of a directory */
    Slot *slots;           /* of a directory, by cookie */
    size_t used, room, live;
    uint64_t cookie;
    Lock *locks;
    /* Guarded by `data`. */
    pthread_mutex_t data;
    Block *blocks;
    size_t count;
    uint64_t *known; /* the size that each mount's kernel knows; NULL with one mount */
};

/* A delayed reply. */
struct Reply {
    Request request; /* the first member: the limits know only this */
    Mount *mount;
    uint64_t unique;
    int error;
    Node *read;   /* the file whose bytes are read when the reply is sent */
    Node *behind; /* the file whose size (and `pages`) is notified before the reply is sent */
    bool pages;
    uint64_t offset;
    uint32_t size;
    uint32_t length;
    char body[];
};

/* The thread that serves a mount's requests, and sends the replies that need no other thread. */
typedef struct {
    Mount *mount;
    char *block;  /* the buffer for the bytes of a WRITE */
    char *plain;  /* a request in one piece */
    char *answer; /* the body of the reply, `length` bytes */
    uint32_t length;
    int64_t delay; /* ns; 0 for a request without a round trip, which meets no limit */
    Direction direction;
    uint64_t bytes; /* on the wire; 0 for what is small */
    bool kept;     /* a blocked lock: the reply is sent later */
    Node *read, *behind;
    bool pages;
    uint64_t offset;
    uint32_t size;
    uint64_t began;
} Worker;

extern pthread_mutex_t tree_lock;
extern Node *root;
extern _Atomic int64_t read_ns, write_ns;
extern uint64_t valid_ns;
extern int mounts;

/* tree.c: names, directories and the life of nodes; all with tree_lock held. */
Node *node_of(uint64_t id);
uint64_t id_of(const Node *node);
Node *node_new(uint32_t mode, const struct fuse_in_header *in);
void node_settle(Node *node); /* free an unreachable node */
Entry *entry_find(const Node *parent, const char *name, size_t length);
void entry_add(Node *parent, const char *name, size_t length, Node *node);
void entry_remove(Entry *entry);
size_t entry_after(const Node *directory, uint64_t cookie);
void node_attributes(const Node *node, struct fuse_attr *out);
struct timespec wall(void);
uint64_t hash_of(const Node *parent, const char *name, size_t length);

/* data.c: the content of files. */
char *block_new(void);
void data_ready(size_t bytes);
void data_write(const Mount *mount, Node *node, uint64_t offset, size_t size, char **bytes);
ssize_t data_reply(int fd, Node *node, uint64_t offset, size_t size, uint64_t unique);
void data_truncate(const Mount *mount, Node *node, uint64_t size);
void data_free(Node *node);

/* notify.c: notifications to a mount's kernel about the writes of other mounts. */
bool is_behind(const Mount *mount, Node *node);
void catch_up(const Mount *mount, Node *node, bool pages);

/* locks.c: POSIX locks that hold across mounts; all with tree_lock held. */
int lock_get(Node *node, const Mount *mount, const struct fuse_lk_in *in, struct fuse_file_lock *out);
int lock_set(Node *node, Worker *worker, const struct fuse_in_header *in, const struct fuse_lk_in *lock);
void lock_drop(Node *node, const Mount *mount, uint64_t owner);
void lock_interrupt(const Mount *mount, uint64_t unique);

/* replies.c: immediate and delayed replies, and the counters. */
uint64_t now(void);
void replies_start(void);
void count_request(uint32_t kind);
void reply_now(Mount *mount, uint64_t unique, int error, const void *body, size_t length);
Reply *reply_new(Mount *mount, uint64_t unique, size_t length);
void reply_at(Reply *reply, uint64_t due); /* without limits, by another thread than the mount's */
void reply_limited(Reply *reply);          /* by the mount's thread, when the limits let it */
int64_t replies_send(Mount *mount); /* send due replies; return ns until there is work, or -1 */
void counters_one_trip(void); /* count the last two delayed requests as one */
void counters_reset(void);
int counters_print(char *text, size_t room);

/* trace.c: the times of requests that are read from standard input. */
int trace(void);

/* operations.c: the delays of requests; names.c and files.c implement them. */
void serve(Worker *worker, const struct fuse_in_header *in, char *argument);

#endif
