/* The queue of the limits: slots of nodes, and virtual clocks for bytes and operations. */
#include "limits.h"

#include <string.h>

#define SECOND 1000000000u

typedef struct {
    Request *first, *last;       /* those that wait for a slot */
    uint64_t free_at[MAX_SLOTS]; /* a heap: the time at which each slot becomes free */
    uint64_t wire;               /* the time at which all bytes until now are through */
} NodeQueue;

static Limits limits;
static NodeQueue nodes[MAX_NODES];
/* Of the file system: reads and writes share its bytes, and have operations of their own. */
static uint64_t wire, turns[DIRECTIONS];
static Usage usage;

void limits_set(const Limits *wanted) {
    limits = *wanted;
    memset(nodes, 0, sizeof nodes);
    wire = 0;
    memset(turns, 0, sizeof turns);
    limits_reset_usage();
}

void limits_arrive(Request *request, uint64_t time) {
    NodeQueue *node = &nodes[request->node];
    request->arrived = time;
    request->next = NULL;
    if (node->first) node->last->next = request;
    else node->first = request;
    node->last = request;
}

uint64_t limits_next(unsigned number) {
    const NodeQueue *node = &nodes[number];
    if (!node->first) return NEVER;
    return node->first->arrived > node->free_at[0] ? node->first->arrived : node->free_at[0];
}

/* Take the slot that has been free for longest, until `due`. */
static void take_slot(NodeQueue *node, uint64_t due) {
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < limits.slots; at = child) {
        if (child + 1 < limits.slots && node->free_at[child + 1] < node->free_at[child]) child++;
        if (node->free_at[child] >= due) break;
        node->free_at[at] = node->free_at[child];
    }
    node->free_at[at] = due;
}

/* Put a cost of so many ns on a clock; return the time at which its turn ends. */
static uint64_t pass(uint64_t *clock, uint64_t time, uint64_t cost) {
    *clock = (*clock > time ? *clock : time) + cost;
    return *clock;
}

static uint64_t cost_of(uint64_t amount, uint64_t a_second) {
    return a_second ? amount * SECOND / a_second : 0;
}

/* Return when the file system has handled a request: each limit counts from its start, so that one
   that waits for bytes does not keep back another that waits for its turn. */
static uint64_t handled(NodeQueue *node, const Request *request) {
    Direction direction = request->direction;
    uint64_t turn = cost_of(1, limits.operations[direction]);
    uint64_t bytes = request->bytes > LEAST_BYTES ? request->bytes : LEAST_BYTES;
    uint64_t times[] = {
        pass(&turns[direction], request->started, turn) - turn, /* the time at which it begins */
        pass(&node->wire, request->started, cost_of(bytes, limits.node_bytes)),
        pass(&wire, request->started, cost_of(bytes, limits.bytes[direction])),
    };
    uint64_t latest = 0;
    for (size_t at = 0; at < sizeof times / sizeof *times; at++)
        if (times[at] > latest) latest = times[at];
    return latest;
}

static void count(const NodeQueue *node, const Request *request) {
    size_t busy = 0;
    for (size_t at = 0; at < limits.slots; at++) busy += node->free_at[at] > request->started;
    if (busy > usage.largest) usage.largest = busy;
    if (!usage.requests++) usage.first = request->arrived;
    if (request->due > usage.last) usage.last = request->due;
    usage.waited += request->started - request->arrived;
    usage.served += request->due - request->started;
    usage.by_node[request->node]++;
}

Request *limits_start(uint64_t time) {
    unsigned chosen = 0;
    for (unsigned number = 1; number < MAX_NODES; number++)
        if (limits_next(number) < limits_next(chosen)) chosen = number;
    uint64_t start = limits_next(chosen);
    if (start > time || start == NEVER) return NULL;
    NodeQueue *node = &nodes[chosen];
    Request *request = node->first;
    node->first = request->next;
    request->started = start;
    request->due = handled(node, request) + request->latency;
    take_slot(node, request->due);
    count(node, request);
    return request;
}

const Usage *limits_usage(void) { return &usage; }

void limits_reset_usage(void) { memset(&usage, 0, sizeof usage); }
