/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library that only answers: venv.h with canned machines, events and errors, so that the command
 * line can be tested without any machine. What it plays is in the environment:
 *
 *   FAKE_STATUS FAKE_GLOBAL FAKE_STATS FAKE_PLAN FAKE_APPROVALS FAKE_DOCTOR FAKE_BOXES FAKE_BOX
 *   FAKE_VOLUMES FAKE_KEYS FAKE_RESULT   JSON that the question is answered with
 *   FAKE_OP      JSON: list of events {event, machine, phase, text, stream, done, total, elapsed_us,
 *                error:{…}, wait: milliseconds before it}; {exit: n}, {fail: {…}} ends it
 *   FAKE_ERROR   JSON of an error ({code, message, hint, file, line, column, machine, details}) with
 *                which venv_project_open() fails
 */
#include <venv.h>

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct venv {
	int unused;
};

struct venv_error {
	json_t *json;
};

struct venv_event {
	json_t *json;
	venv_error error;
};

struct venv_op {
	json_t *events;
	size_t at;
	int fd;
	long long due; /* ms */
	int cancelled;
	int exit_status;
	int out_fd;
	json_t *result;
	venv_event event;
};

struct venv_project {
	json_t *machines;
};

static const struct {
	int code, status;
	const char *name;
} codes[] = {
#define ROW(name, number, status, text) { number, status, #name },
	VENV_CODES(ROW)
#undef ROW
};

static json_t *canned(const char *name, const char *otherwise)
{
	const char *text = getenv(name);
	json_error_t error;
	json_t *json =
		json_loads(text ? text : otherwise, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	if (json)
		return json;
	(void)fprintf(stderr, "fake: %s: %s\n", name, error.text);
	abort();
}

static const char *text_of(json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static int code_of(json_t *json)
{
	const char *name = text_of(json, "code");

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (name && !strcmp(codes[i].name, name))
			return codes[i].code;
	return VENV_ERR_SYSTEM;
}

/* Takes json over. */
static int fail(venv_error **err, json_t *json)
{
	int code = code_of(json);

	if (!err) {
		json_decref(json);
		return code;
	}
	*err = calloc(1, sizeof(**err));
	(*err)->json = json;
	return code;
}

int venv_error_code(const venv_error *error)
{
	return code_of(error->json);
}

const char *venv_code_name(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].name;
	return "OK";
}

int venv_code_exit_status(int code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].status;
	return code < 0;
}

const char *venv_error_message(const venv_error *error)
{
	return text_of(error->json, "message");
}

#define MEMBER(name)                                                                               \
	const char *venv_error_##name(const venv_error *error)                                     \
	{                                                                                          \
		return text_of(error->json, #name);                                                \
	}
MEMBER(hint)
MEMBER(file)
MEMBER(machine)
MEMBER(details)
MEMBER(origin)

unsigned venv_error_line(const venv_error *error)
{
	return (unsigned)json_integer_value(json_object_get(error->json, "line"));
}

unsigned venv_error_column(const venv_error *error)
{
	return (unsigned)json_integer_value(json_object_get(error->json, "column"));
}

void venv_error_free(venv_error *error)
{
	if (error)
		json_decref(error->json);
	free(error);
}

void venv_string_free(char *string)
{
	free(string);
}

const char *venv_version(void)
{
	return "0.1.0";
}

int venv_new(const venv_options *options, venv **ret, venv_error **err)
{
	(void)options;
	(void)err;
	*ret = calloc(1, sizeof(**ret));
	return 0;
}

void venv_free(venv *ctx)
{
	free(ctx);
}

void venv_set_log(venv *ctx, venv_log_fn fn, void *user, int level)
{
	(void)ctx;
	if (level >= VENV_LOG_DEBUG)
		fn(user, VENV_LOG_DEBUG, "a fake that says what it does");
}

/* A value is its JSON; const is put back by the header. */
static json_t *json_of(const venv_value *value)
{
	return (json_t *)(uintptr_t)value;
}

static venv_value *value_of(json_t *json)
{
	return (venv_value *)(void *)json;
}

void venv_value_free(venv_value *value)
{
	json_decref(json_of(value));
}

int venv_value_type(const venv_value *value)
{
	switch (value ? json_typeof(json_of(value)) : JSON_NULL) {
	case JSON_TRUE:
	case JSON_FALSE:
		return VENV_BOOL;
	case JSON_INTEGER:
		return VENV_INT;
	case JSON_REAL:
		return VENV_REAL;
	case JSON_STRING:
		return VENV_STRING;
	case JSON_ARRAY:
		return VENV_LIST;
	case JSON_OBJECT:
		return VENV_MAP;
	default:
		return VENV_NULL;
	}
}

size_t venv_value_count(const venv_value *value)
{
	json_t *json = json_of(value);

	return json_is_array(json) ? json_array_size(json) : json_object_size(json);
}

static void *member(json_t *json, size_t i)
{
	void *iterator = json_object_iter(json);

	while (iterator && i--)
		iterator = json_object_iter_next(json, iterator);
	return iterator;
}

const venv_value *venv_value_at(const venv_value *value, size_t i)
{
	json_t *json = json_of(value);

	if (json_is_array(json))
		return value_of(json_array_get(json, i));
	return value_of(json_object_iter_value(member(json, i)));
}

const char *venv_value_key(const venv_value *value, size_t i)
{
	json_t *json = json_of(value);

	return json_is_object(json) && member(json, i) ? json_object_iter_key(member(json, i))
						       : NULL;
}

const venv_value *venv_value_get(const venv_value *value, const char *key)
{
	return value_of(json_object_get(json_of(value), key));
}

const char *venv_value_string(const venv_value *value)
{
	return json_string_value(json_of(value));
}

int64_t venv_value_int(const venv_value *value)
{
	json_t *json = json_of(value);

	return json_is_boolean(json) ? json_is_true(json)
	       : json_is_real(json)  ? (int64_t)json_real_value(json)
				     : json_integer_value(json);
}

double venv_value_real(const venv_value *value)
{
	return json_number_value(json_of(value));
}

char *venv_value_json(const venv_value *value)
{
	return json_dumps(json_of(value), JSON_ENCODE_ANY);
}

#define STATUS                                                                                     \
	"[{\"name\":\"web\",\"state\":\"running\",\"provider\":\"container\",\"box\":\"busybox\"," \
	"\"id\":\"0123456789abcdef\",\"addresses\":[{\"network\":\"project\","                     \
	"\"address\":\"10.88.0.2\"}],"                                                             \
	"\"ports\":[{\"address\":\"127.0.0.1\",\"host\":8080,\"guest\":80,\"protocol\":\"tcp\"}]}]"

static json_t *status(void)
{
	return canned("FAKE_STATUS", STATUS);
}

int venv_project_open(venv *ctx, const venv_project_options *options, venv_project **ret,
		      venv_error **err)
{
	(void)ctx;
	(void)options;
	if (getenv("FAKE_ERROR"))
		return fail(err, canned("FAKE_ERROR", "null"));
	*ret = calloc(1, sizeof(**ret));
	(*ret)->machines = status();
	return 0;
}

void venv_project_free(venv_project *project)
{
	if (project)
		json_decref(project->machines);
	free(project);
}

const char *venv_project_name(const venv_project *project)
{
	(void)project;
	return "shop";
}

const char *venv_project_dir(const venv_project *project)
{
	(void)project;
	return "/home/me/shop";
}

size_t venv_project_count(const venv_project *project)
{
	return json_array_size(project->machines);
}

const char *venv_project_machine(const venv_project *project, size_t i)
{
	return text_of(json_array_get(project->machines, i), "name");
}

const char *venv_project_primary(const venv_project *project)
{
	return venv_project_count(project) == 1 ? venv_project_machine(project, 0) : NULL;
}

int venv_project_init(venv *ctx, const char *dir, const char *box, int force, venv_error **err)
{
	(void)ctx;
	(void)dir;
	(void)box;
	(void)force;
	(void)err;
	return 0;
}

static long long now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int new_op(venv_op **op)
{
	*op = calloc(1, sizeof(**op));
	(*op)->events = canned("FAKE_OP", "[]");
	(*op)->result = canned("FAKE_RESULT", "null");
	(*op)->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(*op)->out_fd = -1;
	(*op)->due = now_ms();
	return 0;
}

static int number(json_t *json, const char *key)
{
	return (int)json_integer_value(json_object_get(json, key));
}

int venv_op_next(venv_op *op, int timeout_ms, const venv_event **event, venv_error **err)
{
	json_t *next = json_array_get(op->events, op->at);
	const char *text;

	(void)timeout_ms;
	if (op->cancelled)
		return fail(err,
			    json_pack("{s:s,s:s}", "code", "CANCELLED", "message", "cancelled"));
	if (!next)
		return VENV_OP_DONE;
	if (now_ms() < op->due + number(next, "wait"))
		return VENV_OP_PENDING;
	op->at++;
	op->due = now_ms();
	if (json_object_get(next, "fail"))
		return fail(err, json_incref(json_object_get(next, "fail")));
	op->exit_status = number(next, "exit");
	text = text_of(next, "write");
	if (text && op->out_fd >= 0 && write(op->out_fd, text, strlen(text)) < 0)
		return VENV_OP_DONE;
	op->event.json = next;
	op->event.error.json = json_object_get(next, "error");
	*event = &op->event;
	return VENV_OP_EVENT;
}

int venv_op_wait(venv_op *op, venv_error **err)
{
	(void)op;
	(void)err;
	return 0;
}

/* Readable at once: the fake is polled busily, which is good enough for a test. */
int venv_op_fd(const venv_op *op)
{
	static int tick[2] = { -1, -1 };
	struct timespec pause = { .tv_nsec = 2000000 };

	(void)op;
	if (tick[0] < 0 && (pipe(tick) < 0 || write(tick[1], "", 1) < 0))
		abort();
	(void)nanosleep(&pause, NULL);
	return tick[0];
}

void venv_op_cancel(venv_op *op)
{
	const char *slow = getenv("FAKE_SLOW_CANCEL");

	if (!slow)
		op->cancelled = 1;
}

const venv_value *venv_op_result(const venv_op *op)
{
	return value_of(op->result);
}

int venv_op_exit_status(const venv_op *op)
{
	return op->exit_status;
}

void venv_op_resize(venv_op *op, unsigned rows, unsigned columns)
{
	(void)op;
	if (getenv("FAKE_TRACE"))
		(void)fprintf(stderr, "resize %u %u\r\n", rows, columns);
}

void venv_op_signal(venv_op *op, int signal_number)
{
	if (getenv("FAKE_TRACE"))
		(void)fprintf(stderr, "signal %d\n", signal_number);
	op->at = json_array_size(op->events);
	op->exit_status = 128 + signal_number;
}

void venv_op_free(venv_op *op)
{
	if (!op)
		return;
	(void)close(op->fd);
	json_decref(op->events);
	json_decref(op->result);
	free(op);
}

int venv_event_type(const venv_event *event)
{
	static const char *const names[] = { "",       "begin",   "end",   "progress", "output",
					     "notice", "warning", "state", "error" };
	const char *name = text_of(event->json, "event");

	for (size_t i = 1; name && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return 0;
}

#define EVENT_TEXT(name)                                                                           \
	const char *venv_event_##name(const venv_event *event)                                     \
	{                                                                                          \
		return text_of(event->json, #name);                                                \
	}
#define EVENT_NUMBER(name)                                                                         \
	uint64_t venv_event_##name(const venv_event *event)                                        \
	{                                                                                          \
		return (uint64_t)json_integer_value(json_object_get(event->json, #name));          \
	}
EVENT_TEXT(machine)
EVENT_TEXT(phase)
EVENT_TEXT(text)
EVENT_NUMBER(done)
EVENT_NUMBER(total)
EVENT_NUMBER(elapsed_us)

int venv_event_stream(const venv_event *event)
{
	return number(event->json, "stream");
}

const venv_error *venv_event_error(const venv_event *event)
{
	return event->error.json ? &event->error : NULL;
}

static int trace(const char *verb, const char *const *names, unsigned flags)
{
	if (!getenv("FAKE_TRACE"))
		return 0;
	(void)fprintf(stderr, "%s flags=%u", verb, flags);
	for (; names && *names; names++)
		(void)fprintf(stderr, " '%s'", *names);
	(void)fprintf(stderr, "\n");
	return 0;
}

int venv_up(venv_project *project, const char *const *names, const venv_up_options *options,
	    venv_op **op, venv_error **err)
{
	(void)project;
	(void)err;
	(void)trace("up", names, options->flags);
	return new_op(op);
}

int venv_reload(venv_project *project, const char *const *names, const venv_up_options *options,
		venv_op **op, venv_error **err)
{
	(void)project;
	(void)err;
	(void)trace("reload", names, options->flags);
	return new_op(op);
}

#define VERB(name)                                                                                 \
	int venv_##name(venv_project *project, const char *const *names, uint32_t flags,           \
			venv_op **op, venv_error **err)                                            \
	{                                                                                          \
		(void)project;                                                                     \
		(void)err;                                                                         \
		(void)trace(#name, names, flags);                                                  \
		return new_op(op);                                                                 \
	}
VERB(halt)
VERB(destroy)
VERB(pause)
VERB(suspend)
VERB(resume)
VERB(provision)

#define SNAPSHOT(verb)                                                                             \
	int venv_snapshot_##verb(venv_project *project, const char *machine, const char *name,     \
				 uint32_t flags, venv_op **op, venv_error **err)                   \
	{                                                                                          \
		(void)project;                                                                     \
		(void)err;                                                                         \
		(void)trace("snapshot-" #verb, (const char *const[]){ name, machine, NULL },       \
			    flags);                                                                \
		return new_op(op);                                                                 \
	}
SNAPSHOT(save)
SNAPSHOT(restore)
SNAPSHOT(delete)

int venv_halt_id(venv *ctx, const char *id, uint32_t flags, venv_op **op, venv_error **err)
{
	(void)ctx;
	(void)id;
	(void)flags;
	(void)err;
	return new_op(op);
}

int venv_destroy_id(venv *ctx, const char *id, uint32_t flags, venv_op **op, venv_error **err)
{
	return venv_halt_id(ctx, id, flags, op, err);
}

int venv_repair(venv *ctx, venv_project *project, venv_op **op, venv_error **err)
{
	(void)ctx;
	(void)project;
	(void)err;
	return new_op(op);
}

static int run(const char *verb, const char *machine, const venv_run_options *o, venv_op **op)
{
	if (getenv("FAKE_TRACE")) {
		(void)fprintf(stderr, "%s %s dir=%s user=%s tty=%d", verb, machine,
			      o->directory ? o->directory : "-", o->user ? o->user : "-", o->tty);
		for (const char *const *a = o->argv; a && *a; a++)
			(void)fprintf(stderr, " [%s]", *a);
		(void)fprintf(stderr, o->tty ? "\r\n" : "\n");
	}
	(void)new_op(op);
	(*op)->out_fd = o->stdout_fd;
	return 0;
}

int venv_exec(venv_project *project, const char *machine, const venv_run_options *options,
	      venv_op **op, venv_error **err)
{
	(void)project;
	(void)err;
	return run("exec", machine, options, op);
}

int venv_ssh(venv_project *project, const char *machine, const venv_run_options *options,
	     venv_op **op, venv_error **err)
{
	(void)project;
	(void)err;
	return run("ssh", machine, options, op);
}

int venv_copy(venv_project *project, const char *from, const char *to, venv_op **op,
	      venv_error **err)
{
	(void)project;
	(void)err;
	(void)trace("copy", (const char *const[]){ from, to, NULL }, 0);
	return new_op(op);
}

int venv_logs(venv_project *project, const char *machine, int fd, int follow, venv_op **op,
	      venv_error **err)
{
	(void)project;
	(void)machine;
	(void)follow;
	(void)err;
	(void)new_op(op);
	(*op)->out_fd = fd;
	return 0;
}

/* It repeats what is typed, and ends at "bye". */
static void *echo(void *user)
{
	int fd = (int)(intptr_t)user;
	char text[256];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0 && !memmem(text, (size_t)n, "bye", 3))
		if (write(fd, text, (size_t)n) != n)
			break;
	(void)close(fd);
	return NULL;
}

int venv_console(venv_project *project, const char *machine, int *ret_fd, venv_error **err)
{
	int pair[2];
	pthread_t thread;

	(void)project;
	(void)machine;
	(void)err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    pthread_create(&thread, NULL, echo, (void *)(intptr_t)pair[1]) != 0)
		abort();
	(void)pthread_detach(thread);
	*ret_fd = pair[0];
	return 0;
}

int venv_guest_path(venv_project *project, const char *machine, const char *dir, char **ret,
		    venv_error **err)
{
	const char *path = getenv("FAKE_GUEST_PATH");

	(void)project;
	(void)machine;
	(void)dir;
	if (!path)
		return fail(err,
			    json_pack("{s:s,s:s}", "code", "NOT_FOUND", "message", "not shared"));
	*ret = strdup(path);
	return 0;
}

#define QUESTION(name, variable, otherwise)                                                        \
	int venv_##name(venv_project *project, const char *const *names, venv_value **ret,         \
			venv_error **err)                                                          \
	{                                                                                          \
		(void)project;                                                                     \
		(void)names;                                                                       \
		(void)err;                                                                         \
		*ret = value_of(canned(variable, otherwise));                                      \
		return 0;                                                                          \
	}
QUESTION(status, "FAKE_STATUS", STATUS)
QUESTION(stats, "FAKE_STATS", "[]")
QUESTION(plan, "FAKE_PLAN", "[]")

#define ANSWER(name, type, variable, otherwise)                                                    \
	int venv_##name(type *of, venv_value **ret, venv_error **err)                              \
	{                                                                                          \
		(void)of;                                                                          \
		(void)err;                                                                         \
		*ret = value_of(canned(variable, otherwise));                                      \
		return 0;                                                                          \
	}
int venv_snapshot_list(venv_project *project, const char *machine, venv_value **ret,
		       venv_error **err)
{
	(void)project;
	(void)err;
	(void)machine;
	*ret = value_of(canned("FAKE_SNAPSHOTS", "[]"));
	return 0;
}

ANSWER(global_status, venv, "FAKE_GLOBAL", "[]")
ANSWER(volume_list, venv_project, "FAKE_VOLUMES", "[]")
ANSWER(approvals, venv_project, "FAKE_APPROVALS", "[]")
ANSWER(doctor, venv, "FAKE_DOCTOR", "[]")
ANSWER(box_list, venv, "FAKE_BOXES", "[]")
ANSWER(box_recipes, venv, "FAKE_RECIPES", "[]")
ANSWER(box_prune, venv, "FAKE_RESULT", "{\"bytes\":0,\"layers\":0}")

int venv_ssh_config(venv_project *project, const char *machine, const char *host, char **ret,
		    venv_error **err)
{
	(void)project;
	(void)err;
	return asprintf(ret, "Host %s\n  HostName 127.0.0.1\n  User root\n", host ? host : machine);
}

int venv_volume_remove(venv_project *project, const char *name, venv_error **err)
{
	(void)project;
	(void)err;
	return trace("volume-remove", (const char *const[]){ name, NULL }, 0);
}

int venv_approve(venv_project *project, venv_error **err)
{
	(void)project;
	(void)err;
	return trace("approve", NULL, 0);
}

int venv_config_schema(char **ret, venv_error **err)
{
	(void)err;
	*ret = strdup("{}");
	return 0;
}

int venv_config_keys(venv_value **ret, venv_error **err)
{
	(void)err;
	*ret = value_of(canned("FAKE_KEYS", "[]"));
	return 0;
}

int venv_box_info(venv *ctx, const char *name, venv_value **ret, venv_error **err)
{
	(void)ctx;
	(void)name;
	(void)err;
	*ret = value_of(canned("FAKE_BOX", "{}"));
	return 0;
}

int venv_box_add(venv *ctx, const char *name, const char *source, venv_op **op, venv_error **err)
{
	(void)ctx;
	(void)name;
	(void)source;
	(void)err;
	return new_op(op);
}

int venv_box_build(venv *ctx, const char *recipe, venv_op **op, venv_error **err)
{
	(void)ctx;
	(void)recipe;
	(void)err;
	return new_op(op);
}

int venv_box_remove(venv *ctx, const char *name, venv_error **err)
{
	(void)ctx;
	(void)err;
	return trace("box-remove", (const char *const[]){ name, NULL }, 0);
}
