/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one node a machine, a few worker threads, one lock. A worker takes any node of
 * which all that it waits for has come so far as asked (milestones); a node whose need failed fails
 * without being run. The configuration has no cycles, so somebody can always go on.
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "lifecycle.h"
#include "op_private.h"

enum { WORKERS_MAX = 16 };

enum node_state { NODE_WAITING, NODE_RUNNING, NODE_DONE, NODE_FAILED };

struct node {
	struct graph *graph;
	const struct machine_spec *spec;
	enum node_state state;
	int reached; /* highest enum need_kind so far, -1: none */
};

struct graph {
	struct venv_project *project;
	struct venv_op *op;
	node_fn fn;
	void *user;
	enum graph_order order;
	struct node *nodes;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int result;
	venv_error *error; /* the first */
};

void venv__graph_reached(struct node *node, enum need_kind kind)
{
	if (!node)
		return;
	(void)pthread_mutex_lock(&node->graph->lock);
	node->reached = MAX(node->reached, (int)kind);
	(void)pthread_cond_broadcast(&node->graph->changed);
	(void)pthread_mutex_unlock(&node->graph->lock);
}

/* How far must a be for b's sake? started < provisioned < ready, in the order that up reaches them. */
static int milestone(enum need_kind kind)
{
	return kind == NEED_STARTED ? 0 : kind == NEED_PROVISIONED ? 1 : 2;
}

static bool has_reached(const struct node *node, enum need_kind kind)
{
	if (node->state == NODE_DONE)
		return true;
	return node->reached >= 0 && milestone((enum need_kind)node->reached) >= milestone(kind);
}

static struct node *node_of(struct graph *graph, const char *name)
{
	for (size_t i = 0; i < graph->n; i++)
		if (strcmp(graph->nodes[i].spec->name, name) == 0)
			return &graph->nodes[i];
	return NULL;
}

enum readiness { READY_NOW, READY_LATER, READY_NEVER };

static enum readiness after_needs(struct graph *graph, const struct node *node, const char **who)
{
	for (size_t i = 0; i < node->spec->n_needs; i++) {
		const struct need_spec *need = &node->spec->needs[i];
		const struct node *other = node_of(graph, need->machine);

		if (!other)
			continue;
		*who = need->machine;
		if (other->state == NODE_FAILED)
			return READY_NEVER;
		if (!has_reached(other, need->kind))
			return READY_LATER;
	}
	return READY_NOW;
}

/* Stopping goes the other way: first those that need this one. A failure there does not matter. */
static enum readiness after_needers(struct graph *graph, const struct node *node)
{
	for (size_t i = 0; i < graph->n; i++) {
		const struct node *other = &graph->nodes[i];

		if (other->state == NODE_DONE || other->state == NODE_FAILED)
			continue;
		for (size_t k = 0; k < other->spec->n_needs; k++)
			if (strcmp(other->spec->needs[k].machine, node->spec->name) == 0)
				return READY_LATER;
	}
	return READY_NOW;
}

static enum readiness readiness(struct graph *graph, const struct node *node, const char **who)
{
	switch (graph->order) {
	case GRAPH_NEEDS_FIRST:
		return after_needs(graph, node, who);
	case GRAPH_NEEDS_LAST:
		return after_needers(graph, node);
	case GRAPH_ANY:
		break;
	}
	return READY_NOW;
}

/* Under the lock. Takes the error over. */
static void fail(struct graph *graph, struct node *node, int r, venv_error *error)
{
	(void)venv__error_set_machine(r, &error, node->spec->name);
	node->state = NODE_FAILED;
	venv__op_error(graph->op, node->spec->name, error);
	if (graph->result == 0) {
		graph->result = r;
		graph->error = error;
	} else {
		venv_error_free(error);
	}
	(void)pthread_cond_broadcast(&graph->changed);
}

static void fail_for_need(struct graph *graph, struct node *node, const char *who)
{
	venv_error *error = NULL;
	int r = venv__fail(&error, VENV_ERR_STATE, "it needs '%s', which failed", who);

	fail(graph, node, r, error);
}

/* Under the lock: fail what waits for one that failed, and what waits for that. */
static void fail_dependents(struct graph *graph)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (size_t i = 0; i < graph->n; i++) {
			struct node *node = &graph->nodes[i];
			const char *who = "";

			if (node->state != NODE_WAITING ||
			    readiness(graph, node, &who) != READY_NEVER)
				continue;
			fail_for_need(graph, node, who);
			changed = true;
		}
	}
}

/* Under the lock: the next node to run; NULL when all are taken. Waits for one to become ready. */
static struct node *next_node(struct graph *graph)
{
	for (;;) {
		bool waiting = false;

		fail_dependents(graph);
		for (size_t i = 0; i < graph->n; i++) {
			struct node *node = &graph->nodes[i];
			const char *who;

			if (node->state != NODE_WAITING)
				continue;
			if (readiness(graph, node, &who) == READY_NOW)
				return node;
			waiting = true;
		}
		if (!waiting)
			return NULL;
		(void)pthread_cond_wait(&graph->changed, &graph->lock);
	}
}

static void *worker(void *arg)
{
	struct graph *graph = arg;
	struct node *node;

	(void)pthread_mutex_lock(&graph->lock);
	while ((node = next_node(graph))) {
		venv_error *error = NULL;
		int r;

		node->state = NODE_RUNNING;
		(void)pthread_mutex_unlock(&graph->lock);
		r = venv__op_cancelled(graph->op, &error);
		if (r == 0)
			r = graph->fn(node, graph->project, node->spec, graph->op, graph->user,
				      &error);
		(void)pthread_mutex_lock(&graph->lock);
		if (r < 0) {
			fail(graph, node, r, error);
			continue;
		}
		node->state = NODE_DONE;
		(void)pthread_cond_broadcast(&graph->changed);
	}
	(void)pthread_mutex_unlock(&graph->lock);
	return NULL;
}

int venv__graph_run(struct venv_project *project, const struct machine_spec *const *machines,
		    size_t n, enum graph_order order, node_fn fn, void *user, struct venv_op *op,
		    venv_error **err)
{
	struct graph graph = {
		.project = project, .op = op, .fn = fn, .user = user, .order = order, .n = n
	};
	pthread_t threads[WORKERS_MAX];
	size_t started = 0;

	graph.nodes = calloc(n + 1, sizeof(*graph.nodes));
	if (!graph.nodes)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < n; i++)
		graph.nodes[i] =
			(struct node){ .graph = &graph, .spec = machines[i], .reached = -1 };
	(void)pthread_mutex_init(&graph.lock, NULL);
	(void)pthread_cond_init(&graph.changed, NULL);
	/* this thread works as well: one machine needs no other */
	while (started + 1 < MIN(n, (size_t)WORKERS_MAX) &&
	       pthread_create(&threads[started], NULL, worker, &graph) == 0)
		started++;
	(void)worker(&graph);
	while (started)
		(void)pthread_join(threads[--started], NULL);
	(void)pthread_cond_destroy(&graph.changed);
	(void)pthread_mutex_destroy(&graph.lock);
	free(graph.nodes);
	if (graph.result < 0 && graph.error)
		return venv__error_take(graph.error, err);
	return graph.result;
}
