/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provisioning and readiness.
 *
 * A step is done when it succeeded with this content: the digest of what the file says and of the files
 * that it names goes into state.json ("steps") after each success, so that a failure or a crash goes on
 * at that step. Two equal steps count by their number.
 *
 * Steps run in the project's folder in the machine when it has one, else in the user's home.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "guest.h"
#include "lifecycle.h"
#include "net/net.h"
#include "remote.h"
#include "util/digest.h"
#include "util/sys.h"

enum { TAIL_LINES = 15, TAIL_MAX = 4096 };

/* ---- Digests ------------------------------------------------------------------------------- */

static int digest_file(struct digest *digest, const char *path, const struct place *at,
		       venv_error **err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char chunk[16384];
	ssize_t n;

	if (fd < 0)
		return venv__hint(venv__fail_at(err, VENV_ERR_CONFIG, at->file, at->line,
						at->column, "cannot open '%s': %s", path,
						strerror(errno)),
				  err, "paths are relative to the directory of venv.yml");
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		venv__digest_add(digest, chunk, (size_t)n);
	return 0;
}

/* A directory counts by the names, sizes and times in it. */
static int digest_tree(struct digest *digest, int dir_fd, const char *name)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_strv_ char **names = NULL;

	if (fd < 0 || venv__dir_list(fd, &names, NULL) < 0)
		return -EIO;
	for (char **entry = names; *entry; entry++) {
		struct stat st;

		venv__digest_add(digest, *entry, strlen(*entry) + 1);
		if (fstatat(fd, *entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		venv__digest_add(digest, &st.st_mode, sizeof(st.st_mode));
		if (S_ISDIR(st.st_mode)) {
			(void)digest_tree(digest, fd, *entry);
			continue;
		}
		venv__digest_add(digest, &st.st_size, sizeof(st.st_size));
		venv__digest_add(digest, &st.st_mtim, sizeof(st.st_mtim));
	}
	return 0;
}

static int digest_source(struct digest *digest, const char *path, const struct place *at,
			 venv_error **err)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return digest_tree(digest, AT_FDCWD, path) < 0
			       ? venv__fail(err, VENV_ERR_SYSTEM, "cannot read '%s'", path)
			       : 0;
	return digest_file(digest, path, at, err);
}

static void digest_text(struct digest *digest, const char *text)
{
	venv__digest_add(digest, text ? text : "", (text ? strlen(text) : 0) + 1);
}

int venv__step_digest(const struct step_spec *step, char ret[65], venv_error **err)
{
	struct digest *digest = venv__digest_new();
	const char *source = step->script ? step->script : step->copy_from;
	int r = 0;

	if (!digest)
		return venv__fail_nomem(err);
	venv__digest_add(digest, &step->kind, sizeof(step->kind));
	digest_text(digest, step->run);
	digest_text(digest, step->copy_to);
	digest_text(digest, step->mode);
	digest_text(digest, step->owner);
	digest_text(digest, step->as);
	for (char **arg = step->args; arg && *arg; arg++)
		digest_text(digest, *arg);
	if (source)
		r = digest_source(digest, source, &step->place, err);
	venv__digest_end(digest, ret);
	return r;
}

/* ---- Which steps --------------------------------------------------------------------------- */

static const char *step_name(const struct step_spec *step, size_t i, char *number, size_t size)
{
	if (step->name)
		return step->name;
	if (step->kind == STEP_REBOOT)
		return "reboot";
	if (step->script || step->copy_from) {
		const char *path = step->script ? step->script : step->copy_from;
		const char *slash = strrchr(path, '/');

		return slash ? slash + 1 : path;
	}
	(void)snprintf(number, size, "step %zu", i + 1);
	return number;
}

static bool is_done(const json_t *state, size_t i, const char *digest)
{
	const char *done = json_string_value(json_array_get(json_object_get(state, "steps"), i));

	return done && strcmp(done, digest) == 0;
}

static bool is_wanted(const struct step_spec *step, const json_t *state, size_t i,
		      const char *digest, uint32_t flags)
{
	if (step->when == WHEN_NEVER)
		return false;
	if (step->when == WHEN_ALWAYS || (flags & VENV_UP_PROVISION))
		return true;
	return !is_done(state, i, digest);
}

json_t *venv__steps_pending(const struct machine_spec *spec, const json_t *state)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < spec->n_steps; i++) {
		char digest[65], number[32];
		int r = venv__step_digest(&spec->steps[i], digest, NULL);

		if (r == 0 && !is_wanted(&spec->steps[i], state, i, digest, 0))
			continue;
		if (r != VENV_ERR_NOMEM && spec->steps[i].when == WHEN_NEVER)
			continue;
		if (r == VENV_ERR_NOMEM ||
		    json_array_append_new(list, json_string(step_name(&spec->steps[i], i, number,
								      sizeof(number)))) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int remember(struct work *work, size_t i, const char *digest, venv_error **err)
{
	json_t *steps = json_object_get(work->record.state, "steps");

	if (!json_is_array(steps)) {
		steps = json_array();
		if (json_object_set_new(work->record.state, "steps", steps) < 0)
			return venv__fail_nomem(err);
	}
	while (json_array_size(steps) <= i)
		if (json_array_append_new(steps, json_string("")) < 0)
			return venv__fail_nomem(err);
	if (json_array_set_new(steps, i, json_string(digest)) < 0)
		return venv__fail_nomem(err);
	return venv__machine_save(&work->record, WRITE_DURABLE, err);
}

/* ---- Running ------------------------------------------------------------------------------- */

struct capture {
	struct work *work;
	char tail[TAIL_MAX];
	size_t length;
};

static void take_output(void *user, int stream, const char *data, size_t length)
{
	struct capture *capture = user;
	size_t keep = MIN(length, (size_t)TAIL_MAX - 1), move;

	venv__op_output(capture->work->op, capture->work->spec->name, "provision", stream, data,
			length);
	move = MIN(capture->length, (size_t)TAIL_MAX - 1 - keep);
	memmove(capture->tail, capture->tail + capture->length - move, move);
	memcpy(capture->tail + move, data + length - keep, keep);
	capture->length = move + keep;
	capture->tail[capture->length] = '\0';
}

static const char *last_lines(const struct capture *capture)
{
	const char *p = capture->tail + capture->length;
	unsigned lines = 0;

	while (p > capture->tail && lines <= TAIL_LINES)
		if (*--p == '\n' && p != capture->tail + capture->length - 1)
			lines++;
	return *p == '\n' ? p + 1 : p;
}

/* The project's folder in the machine, NULL when it is not shared. */
static const char *project_folder(const struct work *work)
{
	for (size_t i = 0; i < work->spec->n_folders; i++)
		if (strcmp(work->spec->folders[i].host, work->project->spec->dir) == 0)
			return work->spec->folders[i].guest;
	return NULL;
}

static int step_env(const struct work *work, char ***ret, venv_error **err)
{
	if (venv__strv_addf(ret, "VENV_MACHINE=%s", work->spec->name) < 0 ||
	    venv__strv_addf(ret, "VENV_PROJECT=%s", work->project->spec->name) < 0)
		return venv__fail_nomem(err);
	return 0;
}

static int run_command(struct work *work, const struct step_spec *step, char *const *argv, int in,
		       venv_error **err)
{
	struct capture capture = { .work = work };
	_cleanup_strv_ char **env = NULL;
	struct exec_spec spec = { .argv = argv,
				  .user = step->as ? step->as : "root",
				  .directory = project_folder(work) };
	struct guest_io io = GUEST_IO_INIT;
	const struct place *at = &step->place;
	int r = step_env(work, &env, err);

	if (r < 0)
		return r;
	spec.env = env;
	io.in = in;
	io.output = take_output;
	io.user = &capture;
	r = venv__guest_run(work->provider, &work->machine, &spec, &io, work->op, err);
	if (r <= 0)
		return r;
	r = venv__fail_at(err, VENV_ERR_COMMAND, at->file, at->line, at->column,
			  "it ended with status %d", r);
	(void)venv__error_set_details(r, err, last_lines(&capture));
	return venv__hint(r, err, "mend it and run 'venv up' again: it goes on at this step");
}

/* Text for the shell: with -e, unless it names its own interpreter, which then reads it as a file. */
static int run_text(struct work *work, const struct step_spec *step, venv_error **err)
{
	char shell[] = "/bin/sh", flags[] = "-ec", name[] = "venv-step";
	char own[] = "f=$(mktemp /tmp/venv-step.XXXXXX) && printf '%s' \"$1\" > \"$f\" && "
		     "chmod 700 \"$f\" && \"$f\"; r=$?; rm -f \"$f\"; exit $r";
	char *plain[] = { shell, flags, step->run, name, NULL };
	char *interpreted[] = { shell, flags, own, name, step->run, NULL };

	if (strncmp(step->run, "#!", 2) == 0) {
		flags[1] = 'c';
		flags[2] = '\0';
		return run_command(work, step, interpreted, -1, err);
	}
	return run_command(work, step, plain, -1, err);
}

/* A file of the host that a step names: a guest may have planted a link that leads out of the project. */
static int open_source(const struct work *work, const struct step_spec *step, const char *path,
		       venv_error **err)
{
	int fd = venv__open_inside(work->project->spec->dir, path, O_RDONLY | O_NONBLOCK), r;

	if (fd >= 0)
		return fd;
	if (fd != -EXDEV)
		return venv__fail_spec(err, venv__code_of_errno(-fd), &step->place,
				       "cannot open '%s': %s", path, strerror(-fd));
	r = venv__fail_spec(err, VENV_ERR_DENIED, &step->place,
			    "'%s' leads out of the project by a symbolic link", path);
	return venv__hint(r, err, "name the file itself, then run 'venv approve'");
}

/* A script travels as standard input into a private file, is run with its arguments and removed. */
static int run_script(struct work *work, const struct step_spec *step, venv_error **err)
{
	char shell[] = "/bin/sh", flags[] = "-c", name[] = "venv-step";
	char text[] = "f=$(mktemp /tmp/venv-step.XXXXXX) && cat > \"$f\" && chmod 700 \"$f\" && "
		      "\"$f\" \"$@\" < /dev/null; r=$?; rm -f \"$f\"; exit $r";
	_cleanup_close_ int fd = open_source(work, step, step->script, err);
	_cleanup_strv_ char **argv = NULL;
	int r = 0;

	if (fd < 0)
		return fd;
	if (venv__strv_add(&argv, shell) < 0 || venv__strv_add(&argv, flags) < 0 ||
	    venv__strv_add(&argv, text) < 0 || venv__strv_add(&argv, name) < 0)
		r = -ENOMEM;
	for (char **arg = step->args; r == 0 && arg && *arg; arg++)
		r = venv__strv_add(&argv, *arg);
	return r < 0 ? venv__fail_nomem(err) : run_command(work, step, argv, fd, err);
}

static int run_copy(struct work *work, const struct step_spec *step, venv_error **err)
{
	char shell[] = "/bin/sh", flags[] = "-c", name[] = "venv-step";
	char owner_text[] = "exec chown -R \"$1\" \"$2\"", mode_text[] = "exec chmod \"$1\" \"$2\"";
	char *chown_argv[] = { shell, flags, owner_text, name, step->owner, step->copy_to, NULL };
	char *chmod_argv[] = { shell, flags, mode_text, name, step->mode, step->copy_to, NULL };
	const char *user = step->as ? step->as : "root";
	const char *slash = strrchr(step->copy_from, '/');
	_cleanup_close_ int fd = open_source(work, step, step->copy_from, err);
	int r = fd < 0 ? fd
		       : venv__guest_put(work->provider, &work->machine, user, fd,
					 slash ? slash + 1 : step->copy_from, step->copy_to,
					 work->op, err);

	if (r == 0 && step->owner)
		r = run_command(work, step, chown_argv, -1, err);
	if (r == 0 && step->mode)
		r = run_command(work, step, chmod_argv, -1, err);
	return r;
}

static int reboot(struct work *work, venv_error **err)
{
	int r = venv__work_stop(work, STOP_GRACEFUL, err);

	if (r == 0)
		r = venv__work_prepare(work, err);
	if (r == 0)
		r = venv__work_attach(work, work->record.id, err);
	if (r == 0)
		r = venv__work_start(work, err);
	if (r == 0)
		r = venv__work_contact(work, err);
	return r;
}

static int run_step(struct work *work, const struct step_spec *step, venv_error **err)
{
	switch (step->kind) {
	case STEP_RUN:
		return run_text(work, step, err);
	case STEP_SCRIPT:
		return run_script(work, step, err);
	case STEP_COPY:
		return run_copy(work, step, err);
	case STEP_REBOOT:
		return 0;
	case STEP_ANSIBLE:
		break;
	}
	return venv__fail(err, VENV_ERR_UNSUPPORTED, "this kind of step is not supported yet");
}

static int provision_step(struct work *work, size_t i, uint32_t flags, venv_error **err)
{
	const struct step_spec *step = &work->spec->steps[i];
	char digest[65], number[32];
	const char *name = step_name(step, i, number, sizeof(number));
	int r;

	if (step->when == WHEN_NEVER)
		return 0;
	r = venv__op_cancelled(work->op, err);
	if (r == 0)
		r = venv__step_digest(step, digest, err);
	if (r < 0)
		return venv__wrap(r, err, "provisioning step '%s'", name);
	if (!is_wanted(step, work->record.state, i, digest, flags))
		return 0;
	venv__op_begin(work->op, work->spec->name, "provision", "%s", name);
	/* a reboot is remembered first: what comes after it must not reboot again */
	if (step->kind == STEP_REBOOT) {
		r = remember(work, i, digest, err);
		if (r == 0)
			r = reboot(work, err);
	} else {
		r = run_step(work, step, err);
		if (r == 0)
			r = remember(work, i, digest, err);
	}
	if (r < 0)
		return venv__wrap(r, err, "provisioning step '%s'", name);
	venv__op_end(work->op, work->spec->name, "provision");
	return 0;
}

int venv__work_provision(struct work *work, uint32_t flags, venv_error **err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < work->spec->n_steps; i++)
		r = provision_step(work, i, flags, err);
	return r;
}

/* ---- Readiness ----------------------------------------------------------------------------- */

static bool is_ready(struct work *work, char **why)
{
	const struct ready_spec *ready = &work->spec->ready;
	venv_error *error = NULL;
	int fd = -1, r;

	free(*why);
	*why = NULL;
	if (ready->tcp) {
		r = work->provider->dial ? work->provider->dial(&work->machine, "127.0.0.1",
								ready->tcp, &fd, &error)
					 : VENV_ERR_UNSUPPORTED;
		if (r == VENV_ERR_UNSUPPORTED)
			r = venv__remote_listens(work->provider, &work->machine, ready->tcp,
						 work->op, &error);
		if (fd >= 0)
			(void)close(fd);
		if (r < 0 && asprintf(why, "nothing answers on port %u", ready->tcp) < 0)
			*why = NULL;
	} else {
		char shell[] = "/bin/sh", flags[] = "-c";
		char *argv[] = { shell, flags, ready->run, NULL };
		struct exec_spec spec = { .argv = argv, .user = "root" };
		struct guest_io io = GUEST_IO_INIT;

		r = venv__guest_run(work->provider, &work->machine, &spec, &io, work->op, &error);
		if (r > 0 && asprintf(why, "its command ended with status %d", r) < 0)
			*why = NULL;
	}
	venv_error_free(error);
	return r == 0;
}

static int not_ready(const struct work *work, const char *why, venv_error **err)
{
	const struct ready_spec *ready = &work->spec->ready;
	_cleanup_free_ char *tail = venv__console_tail(&work->record, TAIL_LINES);
	int r = venv__fail_at(err, VENV_ERR_TIMEOUT, ready->place.file, ready->place.line,
			      ready->place.column, "it was not ready within %u s: %s",
			      ready->within_ms / 1000, why ? why : "no answer");

	(void)venv__error_set_details(r, err, tail);
	return venv__hint(r, err, "look at 'venv logs %s', or raise 'within'", work->spec->name);
}

int venv__work_wait_ready(struct work *work, venv_error **err)
{
	const struct ready_spec *ready = &work->spec->ready;
	uint64_t end = venv__now_us() + (uint64_t)ready->within_ms * 1000;
	_cleanup_free_ char *why = NULL;
	unsigned pause_ms = 10;

	if (!ready->run && !ready->tcp)
		return 0;
	venv__op_begin(work->op, work->spec->name, "ready", "waiting until it is ready");
	while (!is_ready(work, &why)) {
		struct pollfd wait = { .fd = venv__op_cancel_fd(work->op), .events = POLLIN };
		int r = venv__op_cancelled(work->op, err);

		if (r < 0)
			return r;
		if (venv__now_us() >= end)
			return not_ready(work, why, err);
		/* quick at first, for what is ready at once; then as the file says */
		(void)poll(&wait, 1, (int)pause_ms);
		pause_ms = MIN(pause_ms * 2, ready->every_ms ? ready->every_ms : 1000);
	}
	venv__op_end(work->op, work->spec->name, "ready");
	return 0;
}
