/* ideal THREADS TAR DIRECTORY: unpack a tar from memory as fast as the file system allows.

   Only one thread at a time creates in a directory, because the kernel serializes creations; writes
   and closes run in parallel. Prints the seconds from the first call to the last close. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct Directory Directory;

typedef struct {
    char name[256];
    const char *bytes;
    size_t size;
    Directory *directory; /* NULL for a file */
} Item;

struct Directory {
    char path[1024];
    int fd;
    Item *items; /* directories first */
    size_t count, capacity, next;
    Directory *ready; /* the next one in the queue of directories */
};

static Directory *known[1 << 16];
static size_t known_count;
static Directory *head, *tail;
static size_t left; /* items not started */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static Item *add(Directory *directory, const char *name) {
    if (directory->count == directory->capacity) {
        directory->capacity = directory->capacity ? directory->capacity * 2 : 64;
        directory->items = realloc(directory->items, directory->capacity * sizeof(Item));
    }
    Item *item = &directory->items[directory->count++];
    *item = (Item){0};
    snprintf(item->name, sizeof item->name, "%s", name);
    left++;
    return item;
}

static Directory *directory_of(const char *path) {
    static Directory *last;
    if (last && !strcmp(last->path, path)) return last;
    for (size_t at = 0; at < known_count; at++)
        if (!strcmp(known[at]->path, path)) return last = known[at];
    Directory *made = calloc(1, sizeof *made);
    snprintf(made->path, sizeof made->path, "%s", path);
    known[known_count++] = made;
    if (*path) {
        char parent[1024];
        snprintf(parent, sizeof parent, "%s", path);
        char *slash = strrchr(parent, '/');
        const char *name = slash ? slash + 1 : path;
        if (slash) *slash = 0;
        add(directory_of(slash ? parent : ""), name)->directory = made;
    }
    return last = made;
}

static int directories_first(const void *one, const void *other) {
    const Item *a = one, *b = other;
    return (a->directory ? 0 : 1) - (b->directory ? 0 : 1);
}

static void parse(const char *tar, size_t size) {
    for (size_t at = 0; at + 512 <= size && tar[at];) {
        char path[512], field[13] = {0};
        const char *header = tar + at;
        snprintf(path, sizeof path, "%.155s%s%.100s", header + 345, header[345] ? "/" : "", header);
        memcpy(field, header + 124, 12);
        size_t bytes = strtoul(field, NULL, 8);
        size_t length = strlen(path);
        if (length && path[length - 1] == '/') path[length - 1] = 0;
        if (header[156] == '5') {
            directory_of(path);
        } else {
            char *slash = strrchr(path, '/');
            if (slash) *slash = 0;
            Item *item = add(directory_of(slash ? path : ""), slash ? slash + 1 : path);
            item->bytes = header + 512;
            item->size = bytes;
        }
        at += 512 + (bytes + 511) / 512 * 512;
    }
    for (size_t at = 0; at < known_count; at++)
        qsort(known[at]->items, known[at]->count, sizeof(Item), directories_first);
}

static void make_ready(Directory *directory) {
    if (directory->next == directory->count) return;
    directory->ready = NULL;
    if (head) tail->ready = directory;
    else head = directory;
    tail = directory;
    pthread_cond_signal(&changed);
}

static void fill(int fd, const char *bytes, size_t size) {
    while (size) {
        ssize_t count = write(fd, bytes, size < 1 << 20 ? size : 1 << 20);
        if (count < 0) die("write");
        bytes += count;
        size -= (size_t)count;
    }
    if (close(fd)) die("close");
}

static void *work(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    while (left) {
        Directory *parent = head;
        if (!parent) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        head = parent->ready;
        Item *item = &parent->items[parent->next++];
        if (!--left) pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
        int fd = -1;
        if (!item->directory) {
            fd = openat(parent->fd, item->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            if (fd < 0) die(item->name);
        } else {
            if (mkdirat(parent->fd, item->name, 0755)) die(item->name);
            item->directory->fd = openat(parent->fd, item->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        }
        pthread_mutex_lock(&lock);
        make_ready(parent);
        if (item->directory) make_ready(item->directory);
        if (fd < 0) continue;
        pthread_mutex_unlock(&lock);
        fill(fd, item->bytes, item->size);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    int threads = atoi(arguments[1]), fd = open(arguments[2], O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) die(arguments[2]);
    const char *tar = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (tar == MAP_FAILED) die(arguments[2]);
    parse(tar, (size_t)status.st_size);
    Directory *root = directory_of("");
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    root->fd = open(arguments[3], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0) die(arguments[3]);
    make_ready(root);
    pthread_t *started = calloc((size_t)threads, sizeof *started);
    for (int at = 0; at < threads; at++) pthread_create(&started[at], NULL, work, NULL);
    for (int at = 0; at < threads; at++) pthread_join(started[at], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (double)(ended.tv_sec - began.tv_sec) +
                         (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}
