/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What venv.yml says, after parsing, merging and checking. The table in config_keys.c is the one
 * place that knows which key fills which member; defaults are written there.
 */
#ifndef VENV_SPEC_H
#define VENV_SPEC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/json.h"

/*
 * In the user's file. Line 0: in no file; then file is NULL (a default) or says where the value
 * came from ("--set memory=1G"). Report errors with venv__fail_spec(), which knows the difference.
 */
struct place {
	const char *file; /* owned by the project spec */
	unsigned line, column;
};

enum oom_policy { OOM_KILL, OOM_FREEZE };
enum init_kind { INIT_AUTO, INIT_SYSTEMD, INIT_IMAGE, INIT_NONE };
enum profile_kind { PROFILE_DEV, PROFILE_APP };
enum command_kind { COMMAND_NONE, COMMAND_IMAGE };
enum folder_mode { FOLDER_RW, FOLDER_RO, FOLDER_OVERLAY, FOLDER_COPY };
enum protocol { PROTOCOL_TCP, PROTOCOL_UDP };
enum if_taken { TAKEN_FAIL, TAKEN_NEXT };
enum need_kind { NEED_STARTED, NEED_READY, NEED_PROVISIONED };
enum step_kind { STEP_RUN, STEP_SCRIPT, STEP_COPY, STEP_ANSIBLE, STEP_REBOOT };
enum step_when { WHEN_ONCE, WHEN_ALWAYS, WHEN_NEVER };
enum network_mode { NETWORK_NAT, NETWORK_INTERNAL, NETWORK_HOSTONLY, NETWORK_BRIDGED };

struct folder_spec {
	char *host;  /* absolute, clean */
	char *guest; /* absolute, clean */
	enum folder_mode mode;
	char *owner;  /* user name in the machine; NULL: the login user */
	bool outside; /* by its text not below the project's directory: needs approval. Core must
		       * look again at what symbolic links make of it. */
	struct place place;
};

struct volume_spec { /* name:path */
	char *name;
	char *guest;
	struct place place;
};

struct port_spec {
	char *address; /* on the host; "127.0.0.1" */
	uint16_t host; /* 0: auto */
	uint16_t guest;
	enum protocol protocol;
	enum if_taken if_taken;
	char *name; /* or NULL */
	struct place place;
};

struct net_use {       /* an entry of a machine's networks */
	char *name;    /* "project" or a key of the top-level networks */
	char *address; /* IPv4 without prefix length, or NULL: given */
	struct place place;
};

struct need_spec {
	char *machine;
	enum need_kind kind;
	struct place place;
};

struct ready_spec { /* at most one of run and tcp */
	char *run;
	uint16_t tcp;
	uint32_t every_ms;  /* 1 s */
	uint32_t within_ms; /* 60 s */
	struct place place;
};

struct step_spec {
	enum step_kind kind;
	char *name;   /* or NULL */
	char *run;    /* shell text */
	char *script; /* absolute host path */
	char **args;
	char *copy_from; /* absolute host path */
	char *copy_to;
	char *ansible; /* absolute host path of a playbook; refused for now */
	bool reboot;
	char *mode; /* of a copied file, octal text, or NULL */
	char *owner;
	char *as;     /* user; NULL: root */
	bool outside; /* script or copy_from is not below the project's directory */
	enum step_when when;
	struct place place;
};

struct ssh_spec {
	bool forward_agent;
	struct place forward_agent_place;
	uint16_t port;     /* 0: auto */
	char **extra_keys; /* absolute host paths */
	struct place extra_keys_place;
	struct place place;
};

/* Parsed and checked, then refused as not supported yet. */
enum trigger_where { TRIGGER_MACHINE, TRIGGER_HOST };
enum trigger_if_fails { TRIGGER_STOP, TRIGGER_GO_ON };

struct trigger_spec {         /* one of before and after */
	char *before, *after; /* name of a command */
	char *run;
	enum trigger_where where;
	enum trigger_if_fails if_fails;
	struct place place;
};

struct kvm_spec {
	char *kernel;   /* absolute host path, or "auto" */
	char *initrd;   /* absolute host path or NULL */
	char *firmware; /* absolute host path, or "auto" */
	struct place kernel_place, initrd_place, firmware_place;
	char *cmdline;
	uint32_t sockets;
	struct place place;
};

struct libvirt_spec {
	char *uri, *type, *machine;
	char *xml; /* absolute host path */
};

struct machine_spec {
	char *name;
	struct place place;
	char *box;
	struct place box_place;
	char *version; /* constraint or NULL */
	struct place version_place;
	char *architecture; /* "auto", "amd64", "arm64"… */
	struct place architecture_place;
	char *provider; /* "auto", "kvm", "container", "libvirt" */
	struct place provider_place;
	enum command_kind command;
	bool primary;
	struct place primary_place;
	bool autostart;
	char *hostname; /* default: the machine's name */
	double cpus;    /* 0: no limit */
	struct place cpus_place;
	uint64_t memory; /* bytes, 0: no limit */
	uint64_t memory_low;
	uint32_t cpu_weight; /* 1…10000; 0: default */
	char *cpuset;        /* "0-1", NULL: all */
	uint32_t io_weight;
	uint32_t pids; /* 0: no limit */
	enum oom_policy oom;
	uint64_t disk;
	struct place disk_place;
	enum init_kind init;
	enum profile_kind profile;
	bool nested;
	char **devices;
	char *user; /* NULL: the box's, else root */
	struct folder_spec *folders;
	size_t n_folders;
	struct volume_spec *volumes;
	size_t n_volumes;
	struct port_spec *ports;
	size_t n_ports;
	struct net_use *networks;
	size_t n_networks; /* 0: no network at all */
	bool host_access;
	struct place host_access_place;
	struct need_spec *needs;
	size_t n_needs;
	struct ready_spec ready;
	char *env_file; /* absolute host path or NULL; its content is in env already */
	bool env_file_outside;
	struct place env_file_place;
	char **env; /* "NAME=value", env_file's first */
	struct step_spec *steps;
	size_t n_steps;
	struct trigger_spec *triggers;
	size_t n_triggers;
	struct ssh_spec ssh;
	uint32_t boot_timeout_ms; /* 5 min */
	uint32_t stop_timeout_ms; /* 60 s */
	struct kvm_spec kvm;
	struct libvirt_spec libvirt;
};

struct network_spec {
	char *name;
	char *subnet; /* "192.168.56.0/24", NULL: chosen */
	enum network_mode mode;
	char *bridge; /* of the host, for bridged */
	struct place place;
};

struct project_spec {
	char *name;
	char *dir;    /* absolute directory of the file */
	char *file;   /* absolute path of venv.yml */
	char **files; /* all files that were read: own the names in struct place */
	struct machine_spec *machines;
	size_t n_machines;
	struct network_spec *networks;
	size_t n_networks;
	char **volumes; /* names */
	json_t *approve; /* list of {machine, key, value}: what reaches the host, as written; a hash of
			  * it is what `venv approve` remembers. For a variable of the environment key
			  * is "${NAME}" and value null, and machine may be missing: the project */
};

/*
 * Read venv.yml and venv.local.yml beside it, interpolate, merge, override by set ("key=value",
 * NULL-terminated or NULL), check everything that can be checked without effects. Keys that are
 * known and not supported yet are refused here by name.
 */
int venv__spec_load(const char *file, const char *const *set, struct project_spec **ret,
		    venv_error **err);
/* Open such a file: a regular one, by no link of another user's to what is not theirs. fd or code. */
int venv__spec_open(const char *path, venv_error **err);
/* The same from text: for tests and fuzzing. dir is the project's directory. */
int venv__spec_parse(const char *file, const char *dir, const char *text, size_t length,
		     const char *const *set, struct project_spec **ret, venv_error **err);
void venv__spec_free(struct project_spec *spec);
const struct machine_spec *venv__spec_machine(const struct project_spec *spec, const char *name);
const struct network_spec *venv__spec_network(const struct project_spec *spec, const char *name);
/* NULL when several machines and none is primary. */
const struct machine_spec *venv__spec_primary(const struct project_spec *spec);

/*
 * One machine as JSON: every key with its resolved value, in the form of venv.yml ("memory":
 * "2G"); what is not set is left out. Kept in spec.json, compared by `plan`. NULL: out of memory.
 */
json_t *venv__spec_machine_to_json(const struct machine_spec *spec);
/*
 * The way back, for a machine whose venv.yml is gone or says something else now. What is missing
 * gets its default. Free with venv__spec_machine_free().
 */
int venv__spec_machine_from_json(const json_t *recorded, struct machine_spec **ret,
				 venv_error **err);
void venv__spec_machine_free(struct machine_spec *spec);
/*
 * Compare a running machine's recorded spec with the present one: list of {key, from, to, live},
 * live true when the change can be made to a running machine. NULL: out of memory.
 */
json_t *venv__spec_diff(const json_t *recorded, const json_t *present);

/*
 * List of {section, key, type, since, doc, live, approve, supported, required, default?, example?,
 * choices?, of?}; of: the section of the maps that it holds. NULL: out of memory.
 */
json_t *venv__config_keys(void);
/* JSON Schema (2020-12). NULL: out of memory. */
json_t *venv__config_schema(void);

/* Tell the place of an error that has none. Returns r. */
#define venv__at_spec(r, err, place_)                                                              \
	venv__error_set_place(r, err, (place_)->file, (place_)->line, (place_)->column)
/* Fail at a place of the spec. Returns the code. */
#define venv__fail_spec(err, code, place, ...)                                                     \
	venv__place_fail(err, VENV__ORIGIN, code, place, __VA_ARGS__)
int venv__place_fail(venv_error **err, const char *origin, int code, const struct place *place,
		     const char *format, ...) _printf_(5, 6);

DEFINE_CLEANUP(struct project_spec *, venv__cleanup_spec, venv__spec_free)
#define _cleanup_spec_ _cleanup_(venv__cleanup_spec)

#endif
