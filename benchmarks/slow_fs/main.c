/* slow_fs [--read-us N] [--write-us N] [--valid-ms N] [--control SOCKET] [LIMIT...] NODE=MOUNTPOINT...

   Mount one empty tree at all mount points (each with its own connection and caches) until SIGTERM.
   Mounts of the same node share its limits. Commands on the control socket: "counters", "reset" or
   "latency READ_US WRITE_US".

   Limits (0 for none, except of the slots): --slots and --node-bytes of each node, --read-bytes,
   --write-bytes, --read-operations and --write-operations of the file system, each a second.

   slow_fs --trace [OPTION...] mounts nothing: trace.c. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

_Atomic int64_t read_ns = 1000000, write_ns = 2700000;
uint64_t valid_ns = 3000000000u;
int mounts;
static Mount mounted[MOUNTS];
static const char *socket_path;
static bool traced;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "slow_fs: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Send due replies, and wait for a request or the next due reply. One thread does both: waking
   another thread costs more than most requests. */
static void await(Worker *worker) {
    struct pollfd request = {.fd = worker->mount->fd, .events = POLLIN};
    int64_t left = replies_send(worker->mount);
    struct timespec time = {left / 1000000000, left % 1000000000};
    ppoll(&request, 1, left < 0 ? NULL : &time, NULL);
}

static void *work(void *argument) {
    Worker worker = {.mount = argument, .block = block_new()};
    worker.plain = malloc(HEAD + BLOCK);
    worker.answer = malloc(BLOCK + 4096);
    prctl(PR_SET_TIMERSLACK, 1000);
    for (;;) {
        struct iovec pieces[2] = {{worker.plain, HEAD}, {worker.block, BLOCK}};
        ssize_t size = readv(worker.mount->fd, pieces, 2);
        if (size < 0 && errno == EAGAIN) {
            await(&worker);
            continue;
        }
        if (size < 0 && (errno == EINTR || errno == ENOENT)) continue;
        if (size < 0) return NULL; /* unmounted */
        const struct fuse_in_header *in = (const struct fuse_in_header *)worker.plain;
        if (in->opcode != FUSE_WRITE && (size_t)size > HEAD)
            memcpy(worker.plain + HEAD, worker.block, (size_t)size - HEAD);
        serve(&worker, in, worker.plain + sizeof *in);
        replies_send(worker.mount);
    }
}

static void put(const char *directory, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fprintf(stderr, "slow_fs: %s: %s\n", path, strerror(errno));
    if (fd >= 0) close(fd);
}

/* Configure the mount like an NFS mount: readahead as set by EFS's mount helper, and without FUSE's
   limit of dirty pages. */
static void tune(const char *path) {
    struct stat status;
    char directory[64];
    if (stat(path, &status)) die(path);
    snprintf(directory, sizeof directory, "/sys/class/bdi/%u:%u", major(status.st_dev),
             minor(status.st_dev));
    put(directory, "read_ahead_kb", "15360");
    put(directory, "strict_limit", "0");
    put(directory, "max_ratio", "100");
}

static void begin(Mount *mount_point) {
    char options[128];
    mount_point->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (mount_point->fd < 0) die("/dev/fuse");
    snprintf(options, sizeof options,
             "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other",
             mount_point->fd);
    if (mount("slow_fs", mount_point->path, "fuse", MS_NOSUID | MS_NODEV, options))
        die(mount_point->path);
    pthread_t thread;
    pthread_create(&thread, NULL, work, mount_point);
    tune(mount_point->path);
}

static void set_latencies(long long read_us, long long write_us) {
    read_ns = read_us * 1000;
    write_ns = write_us * 1000;
}

static void run_command(int connection) {
    char line[128], text[4096];
    ssize_t size = read(connection, line, sizeof line - 1);
    if (size <= 0) return;
    line[size] = 0;
    long long read_us, write_us;
    int length = snprintf(text, sizeof text, "ok\n");
    if (!strncmp(line, "reset", 5)) counters_reset();
    else if (!strncmp(line, "counters", 8)) length = counters_print(text, sizeof text);
    else if (sscanf(line, "latency %lld %lld", &read_us, &write_us) == 2)
        set_latencies(read_us, write_us);
    else length = snprintf(text, sizeof text, "unknown\n");
    if (write(connection, text, (size_t)length) < 0) perror("slow_fs: control");
}

static void *control(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        if (connection < 0) continue;
        run_command(connection);
        close(connection);
    }
    return NULL;
}

static void listen_at(const char *path) {
    static int listener;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    pthread_t thread;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8))
        die(path);
    pthread_create(&thread, NULL, control, &listener);
}

static _Noreturn void refuse(const char *what) {
    fprintf(stderr, "slow_fs: %s\n", what);
    exit(2);
}

/* Set what the options say; return the index of the first other argument. */
static int parse(int count, char **arguments) {
    static const struct option options[] = {
        {"read-us", required_argument, NULL, 'r'},
        {"write-us", required_argument, NULL, 'w'},
        {"valid-ms", required_argument, NULL, 'v'},
        {"control", required_argument, NULL, 'c'},
        {"ready-mib", required_argument, NULL, 'm'},
        {"trace", no_argument, NULL, 't'},
        {"slots", required_argument, NULL, 's'},
        {"node-bytes", required_argument, NULL, 'n'},
        {"read-bytes", required_argument, NULL, 'i'},
        {"write-bytes", required_argument, NULL, 'o'},
        {"read-operations", required_argument, NULL, 'R'},
        {"write-operations", required_argument, NULL, 'W'},
        {0},
    };
    /* EFS's limits: docs/explanation/limits.md has the sources. */
    Limits limits = {.slots = 64,
                     .node_bytes = 500ull << 20,
                     .bytes = {[READS] = 60ull << 30, [WRITES] = 5ull << 30},
                     .operations = {[READS] = 250000, [WRITES] = 50000}};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        if (option == 'r') read_ns = (int64_t)number * 1000;
        else if (option == 'w') write_ns = (int64_t)number * 1000;
        else if (option == 'v') valid_ns = number * 1000000u;
        else if (option == 'c') socket_path = optarg;
        else if (option == 'm') data_ready((size_t)number << 20);
        else if (option == 't') traced = true;
        else if (option == 's') limits.slots = number;
        else if (option == 'n') limits.node_bytes = number;
        else if (option == 'i') limits.bytes[READS] = number;
        else if (option == 'o') limits.bytes[WRITES] = number;
        else if (option == 'R') limits.operations[READS] = number;
        else if (option == 'W') limits.operations[WRITES] = number;
        else exit(2);
    }
    if (limits.slots < 1 || limits.slots > MAX_SLOTS) refuse("--slots is not from 1 to 1024");
    limits_set(&limits);
    return optind;
}

static Mount mount_of(int number, char *argument) {
    char *path;
    unsigned long node = strtoul(argument, &path, 10);
    if (path == argument || *path != '=' || node >= MAX_NODES)
        refuse("a mount point is not named as NODE=PATH, with a node from 0 to 30");
    return (Mount){.number = number, .bit = 1u << number, .fd = -1, .node = (unsigned)node,
                   .path = path + 1};
}

int main(int count, char **arguments) {
    int first = parse(count, arguments);
    if (traced) return trace();
    mounts = count - first;
    if (mounts < 1 || mounts > MOUNTS) refuse("the number of mount points is not from 1 to 31");
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* A real server is another machine: load on this one must not delay the replies. Without the
       permission for it, the server runs as an ordinary process. */
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    root = node_new(S_IFDIR | 0755, NULL);
    replies_start();
    for (int number = 0; number < mounts; number++) {
        mounted[number] = mount_of(number, arguments[first + number]);
        begin(&mounted[number]);
    }
    if (socket_path) listen_at(socket_path);
    puts("mounted");
    fflush(stdout);
    int signal_number;
    sigwait(&ends, &signal_number);
    for (int number = 0; number < mounts; number++)
        umount2(mounted[number].path, MNT_FORCE | MNT_DETACH);
    return 0;
}
