/* The declarations common to names.c, files.c and operations.c. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include "fs.h"

/* Execute a request with tree_lock held; the answer and the delay are stored in the worker. */
typedef int Operation(Worker *worker, const struct fuse_in_header *in, char *argument);

/* names.c */
Operation lookup, readlink_, symlink_, mknod_, mkdir_, create, link_, unlink_, rmdir_, rename_;
Operation readdir_;

/* files.c */
Operation getattr, setattr, open_, read_, write_, flush, release, getlk, setlk;
void attributes_sent(const Worker *worker, Node *node);
void changed_by(const Worker *worker, Node *node);
void fill_entry(Node *node, struct fuse_entry_out *out);
int answer_entry(Worker *worker, Node *node);
int answer_attributes(Worker *worker, const Node *node);
int open_existing(Worker *worker, Node *node, uint32_t flags);
int answer_open(Worker *worker, Node *node, uint32_t flags, uint32_t open_flags);

#endif
