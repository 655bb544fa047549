/* The times of requests under the limits, on a clock that only the requests move.

   Reads lines "NS NODE read|write BYTES", by their time of arrival, and prints "STARTED DUE" in ns for
   each: the file system's queue can be tested without a mount, and without waiting. */
#include "fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start_until(uint64_t time) {
    while (limits_start(time)) {
    }
}

int trace(void) {
    Request **all = NULL;
    size_t count = 0;
    unsigned long long time, bytes;
    unsigned node;
    char direction[8];
    int fields;
    while ((fields = scanf("%llu %u %7s %llu", &time, &node, direction, &bytes)) == 4) {
        Request *request = malloc(sizeof *request);
        bool writes = !strcmp(direction, "write");
        if (node >= MAX_NODES || (!writes && strcmp(direction, "read"))) return 2;
        *request = (Request){.node = node,
                             .direction = writes ? WRITES : READS,
                             .bytes = bytes,
                             .latency = (uint64_t)(writes ? write_ns : read_ns)};
        all = realloc(all, (count + 1) * sizeof *all);
        all[count++] = request;
        limits_arrive(request, time);
        start_until(time);
    }
    start_until(NEVER);
    for (size_t at = 0; at < count; at++)
        printf("%llu %llu\n", (unsigned long long)all[at]->started,
               (unsigned long long)all[at]->due);
    const Usage *usage = limits_usage();
    printf("largest %zu\n", usage->largest);
    return fields == EOF && !ferror(stdin) ? 0 : 2;
}
