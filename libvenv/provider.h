/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between core and providers.
 *
 * Core prepares what a machine needs and calls a slot with arguments checked, the state right, the
 * operation lock held and the intent written; a provider only runs machines. Slots fill *err, print
 * nothing, and may be called again after a crash (create, destroy, stop are idempotent). A NULL
 * optional slot means "unsupported", and core says so.
 *
 *   slot               from -> to
 *   probe              none: accept, or decline with the reason; fast, no effect
 *   create, destroy    absent -> stopped, any -> absent
 *   start, stop        stopped, suspended -> running; running, paused, suspended -> stopped
 *   observe            the state now, without locks
 *   connect            running: a connection on which ssh is spoken
 *   exec               running
 *   pause, resume      running <-> paused
 *   suspend            running, paused -> suspended
 *   snapshot           stopped, suspended, running, paused: it stays so
 *   restore            any but absent -> stopped, suspended
 *   apply              running: limits and what else can change live
 *   stats, info        running
 *   own                running
 *   lend_network, plug running: for a netd that is started again
 *   dial               running
 */
#ifndef VENV_PROVIDER_H
#define VENV_PROVIDER_H

#include "context.h"
#include "op.h"
#include "spec.h"

struct net_interface {
	char *name;    /* "eth0" */
	char *network; /* "project" */
	char *address; /* "10.88.0.2" */
	unsigned prefix;
	char *gateway; /* NULL on an internal network */
	char *mac;
	unsigned mtu;
};

struct net_attachment { /* all owned; venv__net_attachment_done() */
	int socket;     /* the connection that is the attachment; -1: no network at all */
	int userns_fd;  /* the project's, of which the machine's is made a child; -1 */
	int netns_fd;   /* the project's, kept so that a new netd can take it up; -1 */
	struct net_interface *interfaces;
	size_t n_interfaces;
	char *dns;     /* address of the project's resolver, or NULL */
	json_t *ports; /* list as in "ports" above, with the real host ports */
};
void venv__net_attachment_done(struct net_attachment *attachment);

enum machine_state {
	MACHINE_ABSENT,
	MACHINE_STOPPED,
	MACHINE_STARTING,
	MACHINE_RUNNING,
	MACHINE_PAUSED, /* frozen by the user */
	MACHINE_FROZEN, /* frozen because it ran out of memory (oom: freeze) */
	MACHINE_STOPPING,
	MACHINE_CRASHED,  /* nobody holds the alive lock but the record says running */
	MACHINE_SUSPENDED /* nobody runs it, and all that it did lies on disk */
};
const char *venv__machine_state_name(enum machine_state state);

struct machine_folder {
	char *host;  /* absolute path: a shared folder's or a volume's directory */
	int host_fd; /* O_PATH of it, opened and checked by core */
	char *guest; /* absolute */
	bool read_only;
	bool volume;        /* owned through the map, no ownership mapping needed */
	bool hide_machines; /* contains .machines/, which must not be seen in the guest */
	char *hide;         /* path of it below the folder ("" + ".machines") or NULL */
	char *owner;        /* guest user whose files are the host owner's; NULL: the login user */
};

struct machine_image {
	char **layers; /* absolute paths, topmost first; NULL: the box is a disk */
	char **disks;  /* absolute paths of images that are only read; NULL: a rootfs. For a
				* provider with disks one is made of the layers, without partitions */
	const char
		*kernel; /* with such a disk: the directory of a kernel (box/kernel.c), or NULL when
				* the file names one */
	const char *format;    /* of them: "qcow2", "raw" */
	uint64_t virtual_size; /* of the first, in bytes */
	bool insecure_key;     /* the first contact is by Vagrant's well-known key */
	char **env, **entrypoint, **cmd;
	char *user, *workdir, *stop_signal;
};

/* Everything that core prepares. Strings and descriptors are core's unless said. */
struct machine {
	struct venv *ctx;
	const char *id;      /* 32 hex digits: names cgroup, scope, veth */
	const char *name;    /* in venv.yml */
	const char *project; /* name of the project */
	const char *project_dir;
	const struct machine_spec *spec;
	const struct idmap *map;
	int dir_fd;      /* <data>/machines/<id> */
	const char *dir; /* its absolute path */
	int project_fd;  /* <data>/projects/<uuid>, or -1 */
	struct machine_image image;
	struct machine_folder *folders; /* shared folders and volumes in order */
	size_t n_folders;
	/* NULL before the network phase and for networks: []. start() gives its descriptors away to
	 * the process that runs the machine (dup; core closes its own). */
	const struct net_attachment *net;
	char **hosts; /* lines for /etc/hosts beside localhost */
	/* keys in dir_fd: keys/host (ed25519 private, OpenSSH form), keys/host.pub, keys/user,
	 * keys/user.pub, keys/authorized (one public key a line) */
	bool from_rootfs;  /* its box has layers; as a virtual machine it has our agent then */
	const char *login; /* who ssh logs in as: user name or uid text, "root" at the least */
	/* of a machine that is reached by ssh alone: what it said that this user is, once it was */
	bool login_known;
	uint32_t login_uid, login_gid;
};

struct verdict {
	bool accept;
	char *reason;              /* why not, owned by the caller; NULL when accepted */
	char *hint;                /* what to do about it, owned by the caller; or NULL */
	const struct place *place; /* of the key that is at fault, in the spec; or NULL */
	char **warnings; /* limits that this host cannot enforce for this user, with the fix */
};
void venv__verdict_done(struct verdict *verdict);

struct exec_spec {
	char *const *argv; /* NULL: login shell */
	const char
		*mode; /* NULL; or "scp": argv are the arguments of the machine's own scp server */
	const char *user;      /* NULL: machine->login */
	const char *directory; /* NULL: the user's home */
	char *const *env;      /* added to the machine's */
	bool tty;
	unsigned rows, columns;
	const char *term;
	int fds[3]; /* stdin, stdout, stderr without a tty; -1: /dev/null */
};

/* A command that runs in a machine. */
struct exec_handle {
	int control; /* socket: send {"op":"signal","signal":N}; receive {"exit":N} or {"signal":N};
		      * its end without either: the machine died */
	int tty;     /* master of its terminal (TIOCSWINSZ resizes), or -1 */
	char mark[33]; /* over ssh: what its processes have in their environment; else "" */
};

enum stop_how { STOP_GRACEFUL, STOP_KILL };

/* What limits a machine, by its keys in the machine file. */
#define LIMIT_KEYS                                                                                 \
	"cpus", "memory", "memory_low", "cpu_weight", "cpuset", "io_weight", "pids", "oom"

struct provider {
	const char *name; /* what the user types: "container" */
	bool disks;       /* runs boxes that are disks (machine->image.disks) */
	bool guest_ssh;   /* a machine has an sshd of its own, at port 22 of its network */
	const char *const *live_limits; /* keys of limits that apply() changes, ended by NULL */

	int (*probe)(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
		     venv_error **err);
	int (*create)(struct machine *machine, struct venv_op *op, venv_error **err);
	int (*destroy)(struct machine *machine, struct venv_op *op, venv_error **err);
	int (*start)(struct machine *machine, struct venv_op *op, venv_error **err);
	int (*stop)(struct machine *machine, enum stop_how how, struct venv_op *op,
		    venv_error **err);
	int (*observe)(struct machine *machine, enum machine_state *ret, venv_error **err);
	/* fd of a stream socket whose other end speaks ssh as a server */
	int (*connect)(struct machine *machine, int *ret_fd, venv_error **err);
	/* VENV_ERR_UNSUPPORTED: this machine is reached by ssh alone, and core does so */
	int (*exec)(struct machine *machine, const struct exec_spec *spec, struct exec_handle *ret,
		    venv_error **err);
	int (*pause)(struct machine *machine, struct venv_op *op, venv_error **err);
	int (*resume)(struct machine *machine, struct venv_op *op, venv_error **err);
	/*
	 * Keep memory and processors on disk and end; start() goes on there, with the spec that it was
	 * started with, and resume() of one that was left paused does. On failure it is as it was.
	 */
	int (*suspend)(struct machine *machine, struct venv_op *op, venv_error **err);
	/*
	 * Put all that the machine is into an empty directory: its disk, and the memory of one that is not
	 * stopped; later go back to it, whatever it does now. What is in the directory stays as it is. A
	 * restore that was interrupted is finished by the next slot that is called.
	 */
	int (*snapshot)(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err);
	int (*restore)(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err);
	/* changed: list as from venv__spec_diff(), all of them live, no limit but those of `live_limits` */
	int (*apply)(struct machine *machine, const json_t *changed, struct venv_op *op,
		     venv_error **err);
	/* {"memory":B,"memory_peak":B,"memory_limit":B?,"cpu_us":N,"pids":N,"oom_kills":N,
	 *  "disk":B?,"disk_partial":true?,…} */
	int (*stats)(struct machine *machine, json_t **ret, venv_error **err);
	/* {"ssh_port":N,"pid":N,"started":SECONDS,…} */
	int (*info)(struct machine *machine, json_t **ret, venv_error **err);
	int (*lend_network)(struct machine *machine, int *ret_userns_fd, int *ret_netns_fd,
			    venv_error **err);
	int (*plug)(struct machine *machine, venv_error **err); /* with a new machine->net */
	/* a stream socket: what the console says from now on, and what is typed there; whoever had one is let go */
	int (*console)(struct machine *machine, int *ret_fd, venv_error **err);
	/* whose the folders are: login_uid and login_gid are known now, and others than was thought */
	int (*own)(struct machine *machine, venv_error **err);
	/* a socket connected to a TCP port inside the machine, its own loopback included; a port that
	 * nobody listens on is VENV_ERR_NETWORK; VENV_ERR_UNSUPPORTED: as for exec */
	int (*dial)(struct machine *machine, const char *host, uint16_t port, int *ret_fd,
		    venv_error **err);
	/* What this host lacks for this provider: list of {check, ok, message, fix}. */
	int (*doctor)(struct venv *ctx, json_t **ret, venv_error **err);
};

/* NULL-terminated, in the order that `provider: auto` tries (providers.c). */
extern const struct provider *const venv__providers[];
const struct provider *venv__provider_find(const char *name);

#endif
