/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of test_net.c: a network namespace that plays the host (the test program itself is in it),
 * one that plays the outside, and fake machines. In each sits an agent, a process that does on request
 * what a person would type there.
 */
#ifndef VENV_TEST_NET_WORLD_H
#define VENV_TEST_NET_WORLD_H

#include "net/net.h"
#include "util/msg.h"

#define HOST_ADDRESS "203.0.113.1"
#define OUTSIDE_ADDRESS "203.0.113.2"
#define SECOND_ADDRESS "203.0.113.3" /* of the outside, with another resolver */
#define METADATA_ADDRESS "169.254.169.254"

struct agent {
	int socket;
	pid_t pid;
};

/* A process that serves requests; prepare runs in it first (NULL: nothing), non-zero ends it. */
int agent_start(struct agent *agent, int (*prepare)(void *), void *user);
void agent_stop(struct agent *agent);
/* Serve there: "echo" says the name first and then echoes; "count" reads to the end, then says how many. */
int agent_serve(struct agent *agent, const char *kind, const char *type, const char *address,
		int port, const char *name);
/* Connect, send, close the sending side, read to the end: 0 and the text, or the errno. */
int agent_talk(struct agent *agent, const char *type, const char *address, int port,
	       const char *text, char **ret);
/* A shell command: its exit status; ret (or NULL) its output. */
int agent_run(struct agent *agent, char **ret, const char *format, ...) _printf_(3, 4);

/* As root: move this process into the host's namespace, make the outside, start the services. */
int world_make(void);
void world_end(void);
extern struct agent outside, host;
/* A resolver (UDP and TCP) in a process of its own: "outside.test" is OUTSIDE_ADDRESS and has an IPv6
 * address, "big.test" needs TCP, "server.test" is the resolver itself, nothing else exists. */
int fake_resolver_start(const char *address);

struct fake_machine {
	struct agent agent;
	struct net_attachment net;
	int netns_fd;
	char id[33];
	const char *address; /* of eth0 */
};

struct fixture { /* a project */
	struct venv ctx;
	char dir[64];
	struct project_spec spec;
	struct net_project project;
};

int fixture_make(void **state);
int fixture_end(void **state);
int try_attach(struct fixture *fixture, const struct machine_spec *spec, const char *id,
	       struct net_attachment *ret, venv_error **err);
/* Attach, make its namespaces as the container provider does, plug. */
void machine_start(struct fixture *fixture, struct fake_machine *machine,
		   const struct machine_spec *spec);
void machine_start_as(struct fixture *fixture, struct fake_machine *machine,
		      const struct machine_spec *spec, const char *id);
void machine_enter(struct fake_machine *machine); /* only the namespaces */
int machine_plug(struct fake_machine *machine);
void machine_stop(struct fake_machine *machine);
/* Wait until no netd answers for the project any more; false after 3 s. */
bool netd_gone(const struct fixture *fixture);
/* pid of the project's netd, or of its child of this name. */
pid_t netd_pid(const struct fixture *fixture);
pid_t child_pid(pid_t parent, const char *name);
void wait_end(pid_t pid); /* of a process that was killed */
size_t count_descriptors(pid_t pid);

/* Members of specs are char *, but nothing here writes to them. */
#define TEXT(literal) ((char *)(uintptr_t)(literal))
#define ON_PROJECT .networks = (struct net_use[]){ { .name = TEXT("project") } }, .n_networks = 1
#define PORTS(list) .ports = (list), .n_ports = ARRAY_SIZE(list)

/* Ports are freed asynchronously by the kernel: tests use different ones. */
uint16_t next_port(void);
/* Assert that it answers with just this, or that nothing answers. */
void talks(struct agent *agent, const char *type, const char *address, int port,
	   const char *expected);
void is_closed(struct agent *agent, const char *type, const char *address, int port);

/* test_net_names.c, test_net_closed.c, test_net_confined.c, test_net_figures.c */
void resolves(void **state);
void follows_the_host(void **state);
void ipv6_costs_no_time(void **state);
void host_is_closed(void **state);
void guest_routes_loopback_out(void **state);
void raw_frames_are_dropped(void **state);
void new_host_address_is_closed(void **state);
void host_access_opens_one(void **state);
void helpers_are_confined(void **state);
void figures(void **state);
/* test_net_spoof.c */
void container_cannot_spoof(void **state);
void container_cannot_spoof_without_netd(void **state);
/* test_net_tap.c */
void tap_is_a_machine(void **state);
void tap_has_host_access(void **state);
void tap_cannot_spoof(void **state);
void tap_goes_with_its_connection(void **state);
void tap_survives_netd(void **state);

#endif
