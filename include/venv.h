/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvenv: development machines from one file in a project's directory.
 *
 * How the parts fit: a context (venv) finds projects; a project (venv_project) is a directory with a
 * venv.yml and names machines; what takes time is an operation (venv_op), which the caller drives by
 * pulling its events; what is only asked comes back as a value (venv_value), a read-only tree.
 *
 * Rules that hold for every function:
 *  - What can fail returns an int: 0 or more, or a negative enum venv_code. The error object comes
 *    last, may be NULL, is set only on failure and belongs to the caller (venv_error_free).
 *  - Outputs are untouched on failure. NULL options are the defaults; in an option struct a zero
 *    field is its default.
 *  - Strings are UTF-8. A returned const char * lives as long as the object it came from; a returned
 *    char * belongs to the caller (venv_string_free).
 *  - Text that comes from a machine, an image or a server is passed on as it is: make its control
 *    characters visible before it reaches a terminal.
 *  - A context may be used by several threads; every other handle by one thread at a time, unless
 *    "@threads any" says otherwise.
 *  - The library prints nothing, never exits, installs no signal handler and leaves the program that
 *    uses it no child process to reap.
 */
#ifndef VENV_H
#define VENV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VENV_VERSION_MAJOR 0
#define VENV_VERSION_MINOR 1
#define VENV_VERSION_PATCH 0

#if defined(__GNUC__)
#define VENV_API __attribute__((visibility("default")))
#define VENV_CHECK __attribute__((warn_unused_result))
#else
#define VENV_API
#define VENV_CHECK
#endif

typedef struct venv venv;                 /* context: no globals behind it */
typedef struct venv_project venv_project; /* a directory with a venv.yml */
typedef struct venv_op venv_op;           /* one operation in flight */
typedef struct venv_event venv_event;     /* what an operation reports */
typedef struct venv_value venv_value;     /* an answer: a read-only tree */
typedef struct venv_error venv_error;

/* ---- Errors ------------------------------------------------------------------------------- */

/*
 * code name, number, exit status of the venv command, text. Append only: numbers are forever.
 */
#define VENV_CODES(X)                                                                              \
	X(INVALID, -1, 2, "invalid argument")                                                      \
	X(NOMEM, -2, 1, "out of memory")                                                           \
	X(SYSTEM, -3, 1, "the system refused")                                                     \
	X(CONFIG, -4, 3, "invalid configuration")                                                  \
	X(NOT_FOUND, -5, 4, "not found")                                                           \
	X(EXISTS, -6, 5, "already exists")                                                         \
	X(STATE, -7, 6, "not in this state")                                                       \
	X(BUSY, -8, 7, "busy")                                                                     \
	X(UNSUPPORTED, -9, 8, "not supported")                                                     \
	X(DENIED, -10, 9, "not allowed")                                                           \
	X(BOX, -11, 10, "bad box")                                                                 \
	X(NETWORK, -12, 11, "network")                                                             \
	X(TIMEOUT, -13, 12, "timed out")                                                           \
	X(CANCELLED, -14, 130, "cancelled")                                                        \
	X(COMMAND, -15, 13, "a command in the machine failed")                                     \
	X(CORRUPT, -16, 14, "a record of ours is damaged")                                         \
	X(HOST, -17, 15, "this host cannot do it")

enum venv_code {
	VENV_OK = 0,
#define VENV_CODE_ENUM(name, number, status, text) VENV_ERR_##name = number,
	VENV_CODES(VENV_CODE_ENUM)
#undef VENV_CODE_ENUM
};

/** @return the negative enum venv_code. @since 0.1 */
VENV_API int venv_error_code(const venv_error *error);
/** @return the name of a code as in machine-readable output ("NOT_FOUND"). @since 0.1 */
VENV_API const char *venv_code_name(int code);
/** @return the exit status that the venv command gives for a code. @since 0.1 */
VENV_API int venv_code_exit_status(int code);
/** @return what happened, one line without a full stop, never NULL. @since 0.1 */
VENV_API const char *venv_error_message(const venv_error *error);
/** @return what to do about it, or NULL. @since 0.1 */
VENV_API const char *venv_error_hint(const venv_error *error);
/** @return the user's file that is wrong, or NULL. @since 0.1 */
VENV_API const char *venv_error_file(const venv_error *error);
/** @return the line in that file, from 1; 0 when there is none. @since 0.1 */
VENV_API unsigned venv_error_line(const venv_error *error);
/** @return the column in that line in characters, from 1; 0 when there is none. @since 0.1 */
VENV_API unsigned venv_error_column(const venv_error *error);
/** @return the machine it happened to, or NULL. @since 0.1 */
VENV_API const char *venv_error_machine(const venv_error *error);
/**
 * @return more lines, as the last lines of a machine's console or of a failed step, or NULL.
 * @since 0.1
 */
VENV_API const char *venv_error_details(const venv_error *error);
/** @return the source line that raised it, for bug reports. @since 0.1 */
VENV_API const char *venv_error_origin(const venv_error *error);
/** NULL is fine. @since 0.1 */
VENV_API void venv_error_free(venv_error *error);

/** Free a string that the library gave to the caller; NULL is fine. @since 0.1 */
VENV_API void venv_string_free(char *string);
/** @return the version of the library that runs ("0.1.0"). @since 0.1 */
VENV_API const char *venv_version(void);

/* ---- Context ------------------------------------------------------------------------------ */

/* All zero is the default: new fields never change an old caller. */
typedef struct venv_options {
	size_t size;             /* set by VENV_OPTIONS_INIT */
	const char *data_dir;    /* NULL: $XDG_DATA_HOME/venv or ~/.local/share/venv */
	const char *libexec_dir; /* NULL: $VENV_LIBEXEC, or where the library was installed */
} venv_options;
/* clang-format off */
#define VENV_OPTIONS_INIT { sizeof(venv_options), NULL, NULL }
/* clang-format on */

enum venv_log_level { VENV_LOG_ERROR, VENV_LOG_WARNING, VENV_LOG_INFO, VENV_LOG_DEBUG };

/** @param message one line, not kept. Called on the thread that logs. */
typedef void (*venv_log_fn)(void *user, int level, const char *message);

/**
 * Open a context. Touches no file yet beyond finding the directories.
 * @param options NULL for the defaults; not kept
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_new(const venv_options *options, venv **ret, venv_error **err);
/** Every project and operation of it must be freed before. NULL is fine. @since 0.1 */
VENV_API void venv_free(venv *ctx);
/** @param level the least important enum venv_log_level that is passed on. @since 0.1 */
VENV_API void venv_set_log(venv *ctx, venv_log_fn fn, void *user, int level);

/* ---- Values ------------------------------------------------------------------------------- */

enum venv_type { VENV_NULL, VENV_BOOL, VENV_INT, VENV_REAL, VENV_STRING, VENV_LIST, VENV_MAP };

/** NULL is fine. Values got from this one go with it. @since 0.1 */
VENV_API void venv_value_free(venv_value *value);
/** @return an enum venv_type; VENV_NULL for NULL. @since 0.1 */
VENV_API int venv_value_type(const venv_value *value);
/** @return the number of elements of a list or map, else 0. @since 0.1 */
VENV_API size_t venv_value_count(const venv_value *value);
/** @return element i of a list or map, or NULL. @since 0.1 */
VENV_API const venv_value *venv_value_at(const venv_value *value, size_t i);
/** @return the key of element i of a map, or NULL. @since 0.1 */
VENV_API const char *venv_value_key(const venv_value *value, size_t i);
/** @return the element of a map called key, or NULL. @since 0.1 */
VENV_API const venv_value *venv_value_get(const venv_value *value, const char *key);
/** @return the text of a string, else NULL. @since 0.1 */
VENV_API const char *venv_value_string(const venv_value *value);
/** @return the number of an int, real (cut) or bool, else 0. @since 0.1 */
VENV_API int64_t venv_value_int(const venv_value *value);
/** @return the number of an int or real, else 0. @since 0.1 */
VENV_API double venv_value_real(const venv_value *value);
/**
 * @return the value as one line of JSON, owned by the caller, or NULL when out of memory.
 * @since 0.1
 */
VENV_API char *venv_value_json(const venv_value *value);

/* ---- Projects ----------------------------------------------------------------------------- */

typedef struct venv_project_options {
	size_t size;
	const char *dir;        /* where the search for venv.yml starts; NULL: working directory */
	const char *file;       /* this file instead; NULL: $VENV_FILE, else climb from dir */
	const char *const *set; /* "key=value" strings that override the file, NULL-terminated */
} venv_project_options;
/* clang-format off */
#define VENV_PROJECT_OPTIONS_INIT { sizeof(venv_project_options), NULL, NULL, NULL }
/* clang-format on */

/**
 * Find and read a project. Nothing is created.
 * @return 0; VENV_ERR_NOT_FOUND when no venv.yml is found; VENV_ERR_CONFIG with file, line and column
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_project_open(venv *ctx, const venv_project_options *options,
					  venv_project **ret, venv_error **err);
/** NULL is fine. @since 0.1 */
VENV_API void venv_project_free(venv_project *project);
/** @since 0.1 */
VENV_API const char *venv_project_name(const venv_project *project);
/** @return the absolute path of the directory that holds venv.yml. @since 0.1 */
VENV_API const char *venv_project_dir(const venv_project *project);
/** @return the number of machines in the file. @since 0.1 */
VENV_API size_t venv_project_count(const venv_project *project);
/** @return the name of machine i in the order of the file, or NULL. @since 0.1 */
VENV_API const char *venv_project_machine(const venv_project *project, size_t i);
/** @return the machine that a command without a name means, or NULL when there is none. @since 0.1 */
VENV_API const char *venv_project_primary(const venv_project *project);

/**
 * Write a venv.yml for a box into a directory.
 * @param dir NULL: working directory
 * @param box NULL: "debian/12"
 * @param force replace a file that is there
 * @return 0; VENV_ERR_EXISTS
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_project_init(venv *ctx, const char *dir, const char *box, int force,
					  venv_error **err);

/* ---- Operations --------------------------------------------------------------------------- */

enum venv_event_type {
	VENV_EVENT_PHASE_BEGIN = 1, /* phase, text: what is being done */
	VENV_EVENT_PHASE_END,       /* phase, elapsed_us */
	VENV_EVENT_PROGRESS,        /* phase, done, total (0: unknown), in bytes */
	VENV_EVENT_OUTPUT,          /* phase, stream, text: raw output of a command or step */
	VENV_EVENT_NOTICE,          /* text: something to know */
	VENV_EVENT_WARNING,         /* text: something to mend, went on */
	VENV_EVENT_STATE,           /* text: the machine's new state */
	VENV_EVENT_ERROR            /* error: this machine failed; others may go on */
};

/** @return an enum venv_event_type. @since 0.1 */
VENV_API int venv_event_type(const venv_event *event);
/** @return the machine it is about, or NULL. @since 0.1 */
VENV_API const char *venv_event_machine(const venv_event *event);
/** @return the name of the phase ("boot"), or NULL. @since 0.1 */
VENV_API const char *venv_event_phase(const venv_event *event);
/** @return the text, or NULL. @since 0.1 */
VENV_API const char *venv_event_text(const venv_event *event);
/** @return 1 standard output, 2 standard error. @since 0.1 */
VENV_API int venv_event_stream(const venv_event *event);
/** @since 0.1 */
VENV_API uint64_t venv_event_done(const venv_event *event);
/** @since 0.1 */
VENV_API uint64_t venv_event_total(const venv_event *event);
/** @return microseconds that the phase took. @since 0.1 */
VENV_API uint64_t venv_event_elapsed_us(const venv_event *event);
/** @return the error of a VENV_EVENT_ERROR, else NULL; lives as long as the event. @since 0.1 */
VENV_API const venv_error *venv_event_error(const venv_event *event);

enum venv_op_next { VENV_OP_DONE = 0, VENV_OP_EVENT = 1, VENV_OP_PENDING = 2 };

/**
 * Wait for the next event of an operation.
 * @param timeout_ms -1: as long as it takes; 0: do not wait
 * @param[out] event valid until the next call
 * @return VENV_OP_EVENT, VENV_OP_PENDING (timed out), VENV_OP_DONE, or a negative code: it failed
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_op_next(venv_op *op, int timeout_ms, const venv_event **event,
				     venv_error **err);
/** Drive an operation to its end and drop its events. @since 0.1 */
VENV_API VENV_CHECK int venv_op_wait(venv_op *op, venv_error **err);
/** @return a descriptor, readable when venv_op_next() will not block; the operation's. @since 0.1 */
VENV_API int venv_op_fd(const venv_op *op);
/** Ask it to end soon with VENV_ERR_CANCELLED. @threads any, signal handlers too. @since 0.1 */
VENV_API void venv_op_cancel(venv_op *op);
/**
 * @return the answer of an operation that has one, NULL before its end; the operation's.
 * @since 0.1
 */
VENV_API const venv_value *venv_op_result(const venv_op *op);
/**
 * @return status of the remote command (0..255; 128+n: killed by signal n), -1 before its end.
 * @since 0.1
 */
VENV_API int venv_op_exit_status(const venv_op *op);
/** Tell a run or ssh with a terminal its new size. @threads any. @since 0.1 */
VENV_API void venv_op_resize(venv_op *op, unsigned rows, unsigned columns);
/** Send a signal (SIGINT…) to the command of a run or ssh. @threads any. @since 0.1 */
VENV_API void venv_op_signal(venv_op *op, int signal_number);
/** Cancels and waits if it runs; NULL is fine. @since 0.1 */
VENV_API void venv_op_free(venv_op *op);

enum venv_up_flag {
	VENV_UP_PROVISION = 1,    /* run every step again */
	VENV_UP_NO_PROVISION = 2, /* run none */
	VENV_NO_WAIT = 4, /* fail at once with VENV_ERR_BUSY when another command is at work */
	VENV_FORCE = 8    /* halt: without asking the machine first */
};

typedef struct venv_up_options {
	size_t size;          /* set by VENV_UP_OPTIONS_INIT */
	const char *provider; /* NULL: the file's, else the first that accepts the machine */
	uint32_t flags;       /* enum venv_up_flag, or'ed */
} venv_up_options;
/* clang-format off */
#define VENV_UP_OPTIONS_INIT { sizeof(venv_up_options), NULL, 0 }
/* clang-format on */

/*
 * The verbs. names is a NULL-terminated list of machines; NULL or empty: all (for up: those with
 * autostart). Several machines run in parallel along `needs`; one that fails stops only what depends
 * on it, comes as a VENV_EVENT_ERROR, and the operation ends with the first such error.
 */

/**
 * Bring machines up, creating what does not exist. A running one gets what can change live.
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_up(venv_project *project, const char *const *names,
				const venv_up_options *options, venv_op **op, venv_error **err);
/**
 * Stop machines: gracefully, after stop_timeout by force. A suspended one goes on first, so that it can; with
 * VENV_FORCE what it did is given up.
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_halt(venv_project *project, const char *const *names, uint32_t flags,
				  venv_op **op, venv_error **err);
/** Stop and start again with what venv.yml now says. @since 0.1 */
VENV_API VENV_CHECK int venv_reload(venv_project *project, const char *const *names,
				    const venv_up_options *options, venv_op **op, venv_error **err);
/** Remove machines and all that they wrote; named volumes stay. @since 0.1 */
VENV_API VENV_CHECK int venv_destroy(venv_project *project, const char *const *names,
				     uint32_t flags, venv_op **op, venv_error **err);
/**
 * The same two for a machine of any project, also one whose directory is gone.
 * @param id its id, or at least four digits with which no other begins
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_halt_id(venv *ctx, const char *id, uint32_t flags, venv_op **op,
				     venv_error **err);
/** @since 0.1 */
VENV_API VENV_CHECK int venv_destroy_id(venv *ctx, const char *id, uint32_t flags, venv_op **op,
					venv_error **err);
/** Freeze machines where they are, in memory. @since 0.1 */
VENV_API VENV_CHECK int venv_pause(venv_project *project, const char *const *names, uint32_t flags,
				   venv_op **op, venv_error **err);
/**
 * Keep all that machines do on disk and end them: they use no memory then, and outlive a restart of the host.
 * They go on by venv_resume() or venv_up() as they were started, whatever the file says by then. Providers that
 * cannot are VENV_ERR_UNSUPPORTED.
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_suspend(venv_project *project, const char *const *names,
				     uint32_t flags, venv_op **op, venv_error **err);
/** Let paused and suspended machines go on. @since 0.1 */
VENV_API VENV_CHECK int venv_resume(venv_project *project, const char *const *names, uint32_t flags,
				    venv_op **op, venv_error **err);
/** Run the provisioning steps of running machines again (`when: never` excepted). @since 0.1 */
VENV_API VENV_CHECK int venv_provision(venv_project *project, const char *const *names,
				       uint32_t flags, venv_op **op, venv_error **err);
/**
 * Finish or undo what an interrupted command left; project NULL: everything of this user.
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_repair(venv *ctx, venv_project *project, venv_op **op,
				    venv_error **err);

/* ---- Snapshots ---------------------------------------------------------------------------- */

/*
 * A snapshot is all that one machine is: its disk, and what it does unless it is stopped. Shared folders and
 * named volumes are not part of it. machine NULL: the primary one.
 */

/**
 * Take a snapshot; a machine that runs stands still meanwhile.
 * @param name letters, digits, '.', '_' and '-', at most 64
 * @return 0; the operation ends with VENV_ERR_EXISTS when there is one, VENV_ERR_UNSUPPORTED when the
 *         machine's provider makes none
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_snapshot_save(venv_project *project, const char *machine,
					   const char *name, uint32_t flags, venv_op **op,
					   venv_error **err);
/**
 * Go back to a snapshot: what the machine did and wrote since then is gone. It is then as it was: running,
 * suspended or stopped. The snapshot stays.
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_snapshot_restore(venv_project *project, const char *machine,
					      const char *name, uint32_t flags, venv_op **op,
					      venv_error **err);
/** Remove a snapshot; the machine stays as it is. @since 0.1 */
VENV_API VENV_CHECK int venv_snapshot_delete(venv_project *project, const char *machine,
					     const char *name, uint32_t flags, venv_op **op,
					     venv_error **err);
/** Its snapshots, the oldest first: list of maps (name, created, state, size). @since 0.1 */
VENV_API VENV_CHECK int venv_snapshot_list(venv_project *project, const char *machine,
					   venv_value **ret, venv_error **err);

/* ---- In a machine ------------------------------------------------------------------------- */

typedef struct venv_run_options {
	size_t size;
	const char *const *argv; /* NULL-terminated; NULL: the user's login shell */
	const char *user;        /* NULL: the machine's login user */
	const char *directory;   /* in the machine; NULL: the user's home */
	const char *const *env;  /* "NAME=value", NULL-terminated, added to the machine's */
	int stdin_fd;            /* the caller's, not closed; -1: nothing */
	int stdout_fd;
	int stderr_fd;
	int tty;           /* not 0: give it a terminal; stdin and stdout carry it, raw */
	unsigned rows;     /* of that terminal; 0: 24 */
	unsigned columns;  /* 0: 80 */
	const char *term;  /* $TERM; NULL: "xterm-256color" */
	int forward_agent; /* ssh only: $SSH_AUTH_SOCK of the caller */
} venv_run_options;
/* clang-format off */
#define VENV_RUN_OPTIONS_INIT                                                                      \
	{ sizeof(venv_run_options), NULL, NULL, NULL, NULL, -1, -1, -1, 0, 0, 0, NULL, 0 }
/* clang-format on */

/** Run a command in a machine, directly. Its status: venv_op_exit_status(). @since 0.1 */
VENV_API VENV_CHECK int venv_exec(venv_project *project, const char *machine,
				  const venv_run_options *options, venv_op **op, venv_error **err);
/** The same over ssh; argv is joined by spaces for the remote shell, as ssh does. @since 0.1 */
VENV_API VENV_CHECK int venv_ssh(venv_project *project, const char *machine,
				 const venv_run_options *options, venv_op **op, venv_error **err);
/**
 * Copy a file or a directory into or out of a machine.
 * @param from a path; "MACHINE:PATH" or ":PATH" (the primary machine) is in a machine
 * @param to likewise; exactly one of the two is in a machine
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_copy(venv_project *project, const char *from, const char *to,
				  venv_op **op, venv_error **err);
/** Write the console log of a machine to fd; follow: until cancelled. @since 0.1 */
VENV_API VENV_CHECK int venv_logs(venv_project *project, const char *machine, int fd, int follow,
				  venv_op **op, venv_error **err);
/**
 * The console of a machine, also of one that is still starting.
 * @param machine NULL: the primary one
 * @param ret_fd a stream socket, the caller's to close: what the console says from now on comes out of it, as the
 *               machine sends it; what is written to it is typed there. It ends when the machine does, or when
 *               somebody else asks for the console: there is one at a time. What is not read in time is lost.
 * @return 0; VENV_ERR_STATE when the machine does not run
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_console(venv_project *project, const char *machine, int *ret_fd,
				     venv_error **err);
/**
 * The directory in the machine that the host's directory is, by the machine's folders.
 * @return 0; VENV_ERR_NOT_FOUND when dir lies in no shared folder
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_guest_path(venv_project *project, const char *machine, const char *dir,
					char **ret, venv_error **err);

/* ---- Questions: answers are venv_values whose form docs/JSON.md tells ---------------------- */

/**
 * Machines of a project: list of maps (name, state, provider, box, id, ssh, addresses, ports…).
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_status(venv_project *project, const char *const *names,
				    venv_value **ret, venv_error **err);
/** All machines of this user. @since 0.1 */
VENV_API VENV_CHECK int venv_global_status(venv *ctx, venv_value **ret, venv_error **err);
/** Use of memory, processor, disk, processes, per machine. @since 0.1 */
VENV_API VENV_CHECK int venv_stats(venv_project *project, const char *const *names,
				   venv_value **ret, venv_error **err);
/** What venv_up() would do: a list of maps (machine, action, details). @since 0.1 */
VENV_API VENV_CHECK int venv_plan(venv_project *project, const char *const *names, venv_value **ret,
				  venv_error **err);
/** A block for the OpenSSH client. @param host NULL: the machine's name. @since 0.1 */
VENV_API VENV_CHECK int venv_ssh_config(venv_project *project, const char *machine,
					const char *host, char **ret, venv_error **err);
/** Named volumes of a project. @since 0.1 */
VENV_API VENV_CHECK int venv_volume_list(venv_project *project, venv_value **ret, venv_error **err);
/** @return 0; VENV_ERR_BUSY while a running machine uses it; VENV_ERR_NOT_FOUND. @since 0.1 */
VENV_API VENV_CHECK int venv_volume_remove(venv_project *project, const char *name,
					   venv_error **err);
/** Keys of the file that reach the host and are not approved yet: list of maps. @since 0.1 */
VENV_API VENV_CHECK int venv_approvals(venv_project *project, venv_value **ret, venv_error **err);
/** Remember the present keys that reach the host as approved by the user. @since 0.1 */
VENV_API VENV_CHECK int venv_approve(venv_project *project, venv_error **err);
/** What this host can do and the fix for what it cannot: list of maps. @since 0.1 */
VENV_API VENV_CHECK int venv_doctor(venv *ctx, venv_value **ret, venv_error **err);
/** JSON Schema of venv.yml, text. @since 0.1 */
VENV_API VENV_CHECK int venv_config_schema(char **ret, venv_error **err);
/** The keys of venv.yml: list of maps (section, key, type, default, since, doc). @since 0.1 */
VENV_API VENV_CHECK int venv_config_keys(venv_value **ret, venv_error **err);

/* ---- Boxes -------------------------------------------------------------------------------- */

/** Boxes in the store: list of maps. @since 0.1 */
VENV_API VENV_CHECK int venv_box_list(venv *ctx, venv_value **ret, venv_error **err);
/** One box: layers, configuration, sizes, who uses it. @since 0.1 */
VENV_API VENV_CHECK int venv_box_info(venv *ctx, const char *name, venv_value **ret,
				      venv_error **err);
/**
 * Add a box from a file or directory: root file system tar, OCI layout, `docker save` archive; Vagrant box
 * for libvirt, qcow2 or raw disk image ("x.img", "raw:FILE").
 * @param name what venv.yml calls it; NULL: from the source
 * @since 0.1
 */
VENV_API VENV_CHECK int venv_box_add(venv *ctx, const char *name, const char *source, venv_op **op,
				     venv_error **err);
/** Build a box from a recipe: its name ("debian/12") or its directory. @since 0.1 */
VENV_API VENV_CHECK int venv_box_build(venv *ctx, const char *recipe, venv_op **op,
				       venv_error **err);
/** Recipes that are known by name: list of maps (name, version, description). @since 0.1 */
VENV_API VENV_CHECK int venv_box_recipes(venv *ctx, venv_value **ret, venv_error **err);
/** @return 0; VENV_ERR_BUSY while machines are based on it, which it names. @since 0.1 */
VENV_API VENV_CHECK int venv_box_remove(venv *ctx, const char *name, venv_error **err);
/** Remove layers and staged files that nothing needs. Result: map (bytes, layers). @since 0.1 */
VENV_API VENV_CHECK int venv_box_prune(venv *ctx, venv_value **ret, venv_error **err);

#ifdef __cplusplus
}
#endif
#endif
