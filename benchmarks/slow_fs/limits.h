/* The limits of a remote file system and of the nodes that mount it.

   A queue on the caller's clock, which it never reads itself. A request waits for a slot of its node,
   then for its turn among the operations and the bytes of all; its latency comes last. */
#ifndef LIMITS_H
#define LIMITS_H

#include <stddef.h>
#include <stdint.h>

#define MAX_NODES 31
#define MAX_SLOTS 1024
#define NEVER UINT64_MAX
#define LEAST_BYTES 4096 /* as many bytes are counted for a smaller request */

typedef enum { READS, WRITES, DIRECTIONS } Direction;

typedef struct {
    size_t slots;                    /* requests under way on each node */
    uint64_t node_bytes;             /* a second on each node, both directions together; 0: no limit */
    uint64_t bytes[DIRECTIONS];      /* a second of the file system, if all go that way; 0: no limit */
    uint64_t operations[DIRECTIONS]; /* a second of the file system; 0: no limit */
} Limits;

typedef struct Request Request;
struct Request {
    Request *next;
    unsigned node;
    Direction direction;
    uint64_t bytes;
    uint64_t latency;               /* ns */
    uint64_t arrived, started, due; /* ns; `started` is when it gets its slot */
};

/* What was used since the last reset; times are in ns, and sums over all requests. */
typedef struct {
    uint64_t requests, waited, served;
    uint64_t first, last;          /* the first arrival and the last reply */
    size_t largest;                /* the largest number of slots that one node used at once */
    uint64_t by_node[MAX_NODES];   /* requests */
} Usage;

void limits_set(const Limits *limits);
void limits_arrive(Request *request, uint64_t time); /* in the order of time */
Request *limits_start(uint64_t time); /* the next request that has a slot by now; NULL for none */
uint64_t limits_next(unsigned node);  /* the time of the node's next start; NEVER if none waits */
const Usage *limits_usage(void);
void limits_reset_usage(void);

#endif
