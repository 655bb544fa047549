/* ideal_walk read|remove THREADS DIRECTORY: read or remove all files below a directory, as fast as the
   file system allows.

   Files are read in parallel. Only one thread at a time removes from a directory, because the kernel
   serializes removals. Prints the seconds from the first call to the last one. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

typedef struct Directory Directory;
struct Directory {
    Directory *parent;
    int fd;
    size_t left; /* itself and the directories in it that are not removed */
    char name[];
};

/* A directory to list, or a file to read. */
typedef struct Task Task;
struct Task {
    Task *next;
    Directory *directory;
    char *file; /* NULL to list the directory */
};

static bool removes;
static Task *tasks;
static size_t open_tasks = 1; /* waiting or running */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static void add(Directory *directory, char *file) {
    Task *task = malloc(sizeof *task);
    pthread_mutex_lock(&lock);
    *task = (Task){tasks, directory, file};
    tasks = task;
    open_tasks++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void read_file(const Directory *directory, const char *name, char *buffer) {
    int fd = openat(directory->fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t size;
    if (fd < 0) die(name);
    while ((size = read(fd, buffer, PIECE)) > 0) {
    }
    if (size < 0 || close(fd)) die(name);
}

/* Count a part of a directory as done; remove the directory, and its parents, when all of it is. */
static void settle(Directory *directory) {
    while (directory && directory->parent) {
        pthread_mutex_lock(&lock);
        bool empty = !--directory->left;
        pthread_mutex_unlock(&lock);
        if (!empty) return;
        if (unlinkat(directory->parent->fd, directory->name, AT_REMOVEDIR)) die(directory->name);
        directory = directory->parent;
    }
}

static void list(Directory *directory) {
    if (directory->parent) {
        directory->fd = openat(directory->parent->fd, directory->name, O_RDONLY | O_DIRECTORY);
        if (directory->fd < 0) die(directory->name);
    }
    DIR *entries = fdopendir(dup(directory->fd));
    if (!entries) die(directory->name);
    for (struct dirent *entry; (entry = readdir(entries));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (entry->d_type == DT_DIR) {
            Directory *inner = calloc(1, sizeof *inner + strlen(entry->d_name) + 1);
            *inner = (Directory){.parent = directory, .left = 1};
            strcpy(inner->name, entry->d_name);
            pthread_mutex_lock(&lock);
            directory->left++;
            pthread_mutex_unlock(&lock);
            add(inner, NULL);
        } else if (!removes) {
            add(directory, strdup(entry->d_name));
        } else if (unlinkat(directory->fd, entry->d_name, 0)) {
            die(entry->d_name);
        }
    }
    closedir(entries);
    if (removes) settle(directory);
}

static void *work(void *unused) {
    (void)unused;
    char *buffer = malloc(PIECE);
    pthread_mutex_lock(&lock);
    while (open_tasks) {
        Task *task = tasks;
        if (!task) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        tasks = task->next;
        pthread_mutex_unlock(&lock);
        if (task->file) read_file(task->directory, task->file, buffer);
        else list(task->directory);
        free(task->file);
        free(task);
        pthread_mutex_lock(&lock);
        if (!--open_tasks) pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    free(buffer);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    removes = !strcmp(arguments[1], "remove");
    if (!removes && strcmp(arguments[1], "read")) return 2;
    size_t threads = strtoul(arguments[2], NULL, 10);
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    Directory *root = calloc(1, sizeof *root + 1);
    root->fd = open(arguments[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root->fd < 0) die(arguments[3]);
    root->left = 1;
    tasks = malloc(sizeof *tasks);
    *tasks = (Task){NULL, root, NULL};
    pthread_t *started = calloc(threads, sizeof *started);
    for (size_t at = 0; at < threads; at++) pthread_create(&started[at], NULL, work, NULL);
    for (size_t at = 0; at < threads; at++) pthread_join(started[at], NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (double)(ended.tv_sec - began.tv_sec) +
                         (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}
