/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of machines. Order of writing, so that a crash anywhere leaves what the next command
 * understands: pointer, directory under its final name with spec.json last; a pointer without a
 * spec.json is no machine. Removal: the directory goes to the trash in one rename, then the pointer.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "box/box.h"
#include "project.h"
#include "util/sys.h"

void venv__machine_done(struct record *record)
{
	free(record->id);
	free(record->dir);
	if (record->dir_fd >= 0)
		(void)close(record->dir_fd);
	json_decref(record->spec);
	json_decref(record->state);
	*record = (struct record)RECORD_INIT;
}

/* Pass the record on; what stays is empty. */
static struct record take_record(struct record *record)
{
	struct record taken = *record;

	*record = (struct record)RECORD_INIT;
	return taken;
}

static bool is_id(const char *text)
{
	return text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

static int machines_fd(struct venv *ctx, venv_error **err)
{
	int data = venv__context_data(ctx, err), fd = -1, r;

	if (data < 0)
		return data;
	r = venv__dir_make_at(data, "machines", 0700, &fd, err);
	return r < 0 ? r : fd;
}

int venv__machine_open(struct venv *ctx, const char *id, struct record *ret, venv_error **err)
{
	_cleanup_record_ struct record record = RECORD_INIT;
	_cleanup_close_ int machines = machines_fd(ctx, err);
	int r;

	if (machines < 0)
		return machines;
	record.dir_fd = openat(machines, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (record.dir_fd < 0)
		return venv__fail_errno(err, errno, "there is no machine %s", id);
	r = venv__json_read(record.dir_fd, "spec.json", &record.spec, err);
	if (r < 0)
		return r;
	r = venv__json_read(record.dir_fd, "state.json", &record.state, NULL);
	if (r == VENV_ERR_NOMEM)
		return venv__fail_nomem(err);
	if (r < 0) /* only the memory of what was done is lost: nothing is deleted for that */
		record.state = json_object();
	record.id = strdup(id);
	if (asprintf(&record.dir, "%s/machines/%s", ctx->data_dir, id) < 0)
		record.dir = NULL;
	if (!record.id || !record.dir || !record.state)
		return venv__fail_nomem(err);
	*ret = take_record(&record);
	return 0;
}

static bool belongs(const struct record *record, const struct venv_project *project,
		    const char *name)
{
	const json_t *owner = json_object_get(record->spec, "project");
	const char *uuid = venv__json_str(owner, "uuid");
	const char *own = venv__json_str(record->spec, "name");

	return uuid && own && strcmp(uuid, project->uuid) == 0 && strcmp(own, name) == 0;
}

static int read_pointer(struct venv_project *project, const char *name, char **ret)
{
	_cleanup_close_ int fd = openat(project->dir_fd, "machines",
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_json_ json_t *pointer = NULL;
	const char *id;

	if (fd < 0)
		return -ENOENT;
	if (venv__json_read(fd, name, &pointer, NULL) == VENV_ERR_NOMEM)
		return -ENOMEM;
	id = venv__json_str(pointer, "id");
	if (!is_id(id))
		return -ENOENT;
	*ret = strdup(id);
	return *ret ? 0 : -ENOMEM;
}

int venv__machine_find(struct venv_project *project, const char *name, struct record *ret,
		       venv_error **err)
{
	_cleanup_record_ struct record record = RECORD_INIT;
	_cleanup_free_ char *id = NULL;
	venv_error *error = NULL;
	int r;

	*ret = (struct record)RECORD_INIT;
	if (!project->uuid)
		return 0;
	r = read_pointer(project, name, &id);
	if (r < 0) /* for want of memory no second machine is made */
		return r == -ENOMEM ? venv__fail_nomem(err) : 0;
	r = venv__machine_open(project->ctx, id, &record, &error);
	if (r == VENV_ERR_NOT_FOUND) {
		venv_error_free(error);
		return 0;
	}
	if (r < 0)
		return venv__error_take(error, err);
	if (!belongs(&record, project, name))
		return 0;
	*ret = take_record(&record);
	return 0;
}

static int write_pointer(struct venv_project *project, const char *name, const char *id,
			 venv_error **err)
{
	_cleanup_json_ json_t *pointer = json_pack("{s:i, s:s}", "version", 1, "id", id);
	_cleanup_close_ int fd = -1;
	int r = venv__dir_make_at(project->dir_fd, "machines", 0700, &fd, err);

	if (r < 0)
		return r;
	return pointer ? venv__json_write(fd, name, pointer, WRITE_DURABLE, err)
		       : venv__fail_nomem(err);
}

int venv__machine_sweep(struct venv_project *project, const char *name, venv_error **err)
{
	_cleanup_close_ int machines = machines_fd(project->ctx, err);
	_cleanup_close_ int dir = -1, pointers = -1;
	_cleanup_free_ char *id = NULL;
	int r;

	if (machines < 0)
		return machines;
	if (!project->uuid)
		return 0;
	pointers = openat(project->dir_fd, "machines",
			  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (pointers >= 0)
		venv__file_sweep(pointers, name);
	r = read_pointer(project, name, &id);
	if (r < 0)
		return r == -ENOMEM ? venv__fail_nomem(err) : 0;
	dir = openat(machines, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || faccessat(dir, "spec.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	    errno != ENOENT)
		return 0;
	return venv__tree_delete(machines, id, err);
}

int venv__machine_create(struct venv_project *project, const char *name, json_t *spec,
			 struct record *ret, venv_error **err)
{
	_cleanup_close_ int machines = machines_fd(project->ctx, err);
	_cleanup_close_ int dir = -1;
	const char *id = venv__json_str(spec, "id");
	int r;

	if (machines < 0)
		return machines;
	r = write_pointer(project, name, id, err);
	if (r == 0)
		r = venv__dir_make_at(machines, id, 0700, &dir, err);
	if (r == 0)
		r = venv__json_write(dir, "spec.json", spec, WRITE_DURABLE, err);
	if (r == 0)
		r = venv__machine_open(project->ctx, id, ret, err);
	if (r < 0)
		(void)venv__tree_delete(machines, id, NULL);
	return r;
}

/* Over what is there, which takes no room: on a full disk a machine must still be stopped. */
static bool overwrite_state(const struct record *record)
{
	_cleanup_close_ int fd =
		openat(record->dir_fd, "state.json", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *text = venv__json_text(record->state, JSON_COMPACT);
	_cleanup_free_ char *line = NULL;
	struct stat st;
	size_t size;

	if (fd < 0 || !text || fstat(fd, &st) < 0)
		return false;
	size = MAX((size_t)st.st_size, strlen(text));
	line = malloc(size);
	if (!line)
		return false;
	memset(line, ' ', size);
	memcpy(line, text, strlen(text));
	return pwrite(fd, line, size, 0) == (ssize_t)size;
}

int venv__machine_save(struct record *record, enum write_mode how, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r;

	(void)json_object_set_new(record->state, "version", json_integer(1));
	r = venv__json_write(record->dir_fd, "state.json", record->state, how, &problem);
	if (r == 0)
		return 0;
	if (how == WRITE_VOLATILE && problem &&
	    (problem->sys_errno == ENOSPC || problem->sys_errno == EDQUOT) &&
	    overwrite_state(record))
		return 0;
	return venv__error_take(take_ptr(problem), err);
}

static int move_to_trash(struct venv_project *project, const char *name,
			 const struct record *record, venv_error **err)
{
	_cleanup_close_ int machines = machines_fd(project->ctx, err);
	_cleanup_close_ int trash = -1, pointers = -1;
	int data = venv__context_data(project->ctx, err), r;

	if (machines < 0 || data < 0)
		return machines < 0 ? machines : data;
	r = venv__dir_make_at(data, "trash", 0700, &trash, err);
	if (r < 0)
		return r;
	if (renameat(machines, record->id, trash, record->id) < 0 && errno != ENOENT)
		return venv__fail_errno(err, errno, "cannot move the machine to the trash");
	pointers = openat(project->dir_fd, "machines", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pointers >= 0)
		(void)unlinkat(pointers, name, 0);
	return 0;
}

int venv__machine_remove(struct venv_project *project, const char *name,
			 const struct record *record, venv_error **err)
{
	int r = move_to_trash(project, name, record, err);

	return r < 0 ? r : venv__trash_empty(project->ctx, err);
}

int venv__trash_empty(struct venv *ctx, venv_error **err)
{
	_cleanup_close_ int trash = -1;
	_cleanup_strv_ char **names = NULL;
	int data = venv__context_data(ctx, err), r;

	if (data < 0)
		return data;
	trash = openat(data, "trash", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (trash < 0)
		return 0;
	r = venv__dir_list(trash, &names, err);
	for (char **name = names; r == 0 && *name; name++)
		r = venv__store_remove_tree(ctx, trash, *name, err);
	return r;
}

int venv__machine_ids(struct venv *ctx, char ***ret, venv_error **err)
{
	_cleanup_close_ int machines = machines_fd(ctx, err);
	_cleanup_strv_ char **names = NULL;
	char **out;
	int r;

	if (machines < 0)
		return machines;
	r = venv__dir_list(machines, &names, err);
	if (r < 0)
		return r;
	out = names;
	for (char **name = names; *name; name++) {
		if (is_id(*name))
			*out++ = *name;
		else
			free(*name);
	}
	*out = NULL;
	*ret = take_ptr(names);
	return 0;
}

int venv__machine_orphans(struct venv_project *project, char ***ret, venv_error **err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_strv_ char **names = NULL, **orphans = NULL;
	int r;

	if (project->uuid)
		fd = openat(project->dir_fd, "machines", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		r = venv__dir_list(fd, &names, err);
		if (r < 0)
			return r;
	}
	for (char **name = names; name && *name; name++) {
		_cleanup_record_ struct record record = RECORD_INIT;

		if (**name == '.' || venv__spec_machine(project->spec, *name) ||
		    venv__machine_find(project, *name, &record, NULL) < 0 || !record.id)
			continue;
		if (venv__strv_add(&orphans, *name) < 0)
			return venv__fail_nomem(err);
	}
	*ret = take_ptr(orphans);
	return 0;
}

/* ---- Operation locks ----------------------------------------------------------------------- */

static const char since_word[] = ", since ";

/* "venv up (pid 7, since 1700000000)" as it is read: with the local time. */
static char *read_note(int fd)
{
	char text[512], when[64], *since, *end = NULL, *note;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	struct tm local;
	time_t seconds;

	if (n <= 0)
		return strdup("another venv command");
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	since = strstr(text, since_word);
	seconds = since ? (time_t)strtoll(since + strlen(since_word), &end, 10) : 0;
	if (!end || strcmp(end, ")") != 0 || !localtime_r(&seconds, &local) ||
	    !strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local))
		return strdup(text);
	*since = '\0';
	return asprintf(&note, "%s%s%s)", text, since_word, when) < 0 ? NULL : note;
}

static void write_note(int fd, const char *why)
{
	_cleanup_free_ char *note = NULL;
	int n = asprintf(&note, "venv %s (pid %d%s%lld)\n", why, getpid(), since_word,
			 (long long)venv__wall_seconds());

	if (n < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, note, (size_t)n, 0) != n)
		return; /* the note is for people; the lock is what counts */
}

static int busy(int fd, const char *name, venv_error **err)
{
	_cleanup_free_ char *holder = read_note(fd);
	int r = venv__fail(err, VENV_ERR_BUSY, "machine '%s' is busy: %s is at work", name,
			   holder ? holder : "another venv command");

	return venv__hint(r, err, "wait for it to end, or run again without --no-wait");
}

/* Wait in short steps, so that the operation can be cancelled meanwhile. */
static int wait_for_lock(int fd, const char *name, struct venv_op *op, venv_error **err)
{
	_cleanup_free_ char *holder = read_note(fd);
	int r;

	venv__op_notice(op, name, "waiting for %s", holder ? holder : "another venv command");
	for (;;) {
		struct pollfd wait = { .fd = venv__op_cancel_fd(op), .events = POLLIN };

		r = venv__lock_try(fd, true);
		if (r != -EAGAIN)
			return r < 0 ? venv__fail_errno(err, -r, "cannot lock '%s'", name) : 0;
		(void)poll(&wait, 1, 50);
		r = venv__op_cancelled(op, err);
		if (r < 0)
			return r;
	}
}

int venv__operation_lock(struct venv_project *project, const char *name, const char *why,
			 enum lock_wait wait, struct venv_op *op, venv_error **err)
{
	_cleanup_close_ int dir = -1, fd = -1;
	int r = venv__dir_make_at(project->dir_fd, "locks", 0700, &dir, err);

	if (r < 0)
		return r;
	fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the lock of machine '%s'", name);
	r = venv__lock_try(fd, true);
	if (r == -EAGAIN)
		r = wait == LOCK_FAIL ? busy(fd, name, err) : wait_for_lock(fd, name, op, err);
	else if (r < 0)
		r = venv__fail_errno(err, -r, "cannot lock machine '%s'", name);
	if (r < 0)
		return r;
	write_note(fd, why);
	return take_fd(&fd);
}

char *venv__operation_holder(struct venv_project *project, const char *name)
{
	_cleanup_close_ int dir = -1, fd = -1;

	if (project->dir_fd < 0)
		return NULL;
	dir = openat(project->dir_fd, "locks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || !venv__lock_is_held(fd))
		return NULL;
	return read_note(fd);
}
