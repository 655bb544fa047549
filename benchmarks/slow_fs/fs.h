/* A FUSE file system in memory whose replies come as late as a remote one's: what its parts share. */
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

#define BLOCK ((size_t)1 << 20) /* bytes of a file that are kept together; also the largest WRITE */
#define MOUNTS 31               /* one bit each */
#define KINDS 64                /* operation codes that are counted */

typedef struct Node Node;
typedef struct Entry Entry;
typedef struct Lock Lock;

typedef struct {
    int number;
    uint32_t bit;
    int fd; /* of /dev/fuse */
    const char *path;
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
    uint64_t cookie; /* where a directory's reader goes on */
    uint32_t length;
    char name[];
};

typedef struct {
    uint64_t cookie;
    Entry *entry; /* NULL where one was removed */
} Place;

struct Node {
    /* Guarded by tree_lock, but for what is atomic. */
    uint64_t number, lookups, opens;
    uint32_t mode, uid, gid, links, device;
    _Atomic uint64_t size;
    _Atomic uint32_t stale;  /* the mounts whose kernel may hold older pages */
    _Atomic uint32_t told;   /* the mounts that have just changed it */
    _Atomic uint64_t told_at;
    atomic_bool unflushed;   /* created or written since it was last closed by a writer */
    struct timespec accessed, modified, changed;
    char *target;            /* of a symbolic link */
    Node *parent;            /* of a directory */
    Place *places;           /* of a directory, by cookie */
    size_t used, room, live;
    uint64_t cookie;
    Lock *locks;
    /* Guarded by `data`. */
    pthread_mutex_t data;
    Block *blocks;
    size_t count;
    uint64_t *known; /* the size that each mount's kernel believes in; NULL with one mount */
};

/* A reply that is held back until its time. */
typedef struct {
    uint64_t due, began; /* ns */
    Mount *mount;
    uint64_t unique;
    int error;
    uint32_t kind;
    Node *read;   /* its bytes are taken when the reply goes out */
    Node *behind; /* this file's size (and `pages`) are told before the reply goes out */
    bool pages;
    uint64_t offset;
    uint32_t size;
    uint32_t length;
    char body[];
} Reply;

/* Replies, the one that is due first at the top. */
typedef struct {
    Reply **replies;
    size_t count, room;
} Heap;

/* The thread that serves a mount's requests, and sends what needs no other thread. */
typedef struct {
    Mount *mount;
    Heap held;
    char *block;  /* where the bytes of a WRITE arrive */
    char *plain;  /* a request as one piece */
    char *answer; /* the body of the reply, `length` bytes */
    uint32_t length;
    int64_t delay; /* ns */
    bool kept;     /* a blocked lock: the reply comes later */
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
void node_settle(Node *node); /* frees what nobody can reach any more */
Entry *entry_find(const Node *parent, const char *name, size_t length);
void entry_add(Node *parent, const char *name, size_t length, Node *node);
void entry_remove(Entry *entry);
size_t entry_after(const Node *directory, uint64_t cookie);
void node_attributes(const Node *node, struct fuse_attr *out);
struct timespec wall(void);
uint64_t hash_of(const Node *parent, const char *name, size_t length);

/* data.c: the bytes of files. */
char *block_new(void);
void data_ready(size_t bytes);
void data_write(const Mount *mount, Node *node, uint64_t offset, size_t size, char **bytes);
ssize_t data_reply(int fd, Node *node, uint64_t offset, size_t size, uint64_t unique);
void data_truncate(const Mount *mount, Node *node, uint64_t size);
void data_free(Node *node);

/* notify.c: what a mount's kernel must learn of other mounts' writes. */
bool is_behind(const Mount *mount, Node *node);
void catch_up(const Mount *mount, Node *node, bool pages);

/* locks.c: POSIX locks that hold across mounts; all with tree_lock held. */
int lock_get(Node *node, const Mount *mount, const struct fuse_lk_in *in, struct fuse_file_lock *out);
int lock_set(Node *node, Worker *worker, const struct fuse_in_header *in, const struct fuse_lk_in *lock);
void lock_drop(Node *node, const Mount *mount, uint64_t owner);
void lock_interrupt(const Mount *mount, uint64_t unique);

/* replies.c: replies, at once or at their time, and what is counted. */
uint64_t now(void);
void replies_start(void);
void reply_begin(uint32_t kind);
void reply_end(uint32_t kind, uint64_t began);
void reply_now(Mount *mount, uint64_t unique, int error, const void *body, size_t length);
Reply *reply_new(Mount *mount, uint64_t unique, uint32_t kind, uint64_t began, size_t length);
void reply_at(Reply *reply, uint64_t due); /* by another thread than the mount's */
void reply_later(Worker *worker, Reply *reply, uint64_t due);
int64_t replies_send(Worker *worker); /* sends what is due; ns until the next one, or -1 */
void counters_one_trip(void); /* the last two that were held back are one */
void counters_reset(void);
int counters_print(char *text, size_t room);

/* operations.c: what requests cost; names.c and files.c do them. */
void serve(Worker *worker, const struct fuse_in_header *in, char *argument);

#endif
