/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: which project is this directory?
 *
 * A project's uuid is in its .machines/project.json; <data>/projects/<uuid>/project.json says where we
 * saw it last (path, device, inode). The same device and inode: it is the project, moved perhaps. Other
 * ones: if the place where we saw it still holds this uuid, the directory is a copy (or a clone that
 * ships somebody's .machines) and becomes a project of its own; else it was moved across file systems.
 * A uuid without a record of ours is worth nothing. Without .machines, a record of this very directory
 * is looked for: it was wiped, and the machines are taken up again.
 */
#include "project.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "options.h"
#include "util/sys.h"

#define MACHINES_DIR ".machines"

static bool is_id(const char *text)
{
	return text && strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

static int projects_fd(struct venv *ctx, venv_error **err)
{
	int data = venv__context_data(ctx, err), fd = -1, r;

	if (data < 0)
		return data;
	r = venv__dir_make_at(data, "projects", 0700, &fd, err);
	return r < 0 ? r : fd;
}

bool venv__project_is_here(const json_t *record, int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 &&
	       venv__json_int(record, "device", -1) == (int64_t)st.st_dev &&
	       venv__json_int(record, "inode", -1) == (int64_t)st.st_ino;
}

bool venv__project_is_gone(struct venv *ctx, const char *uuid, char **ret_path)
{
	_cleanup_close_ int projects = projects_fd(ctx, NULL);
	_cleanup_close_ int dir = -1, place = -1;
	_cleanup_json_ json_t *record = NULL;
	const char *path;

	*ret_path = NULL;
	dir = uuid && projects >= 0
		      ? openat(projects, uuid, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
		      : -1;
	if (dir < 0 || venv__json_read(dir, "project.json", &record, NULL) < 0)
		return false; /* nothing is known of it */
	path = venv__json_str(record, "path");
	*ret_path = path ? strdup(path) : NULL;
	place = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	return path && (place < 0 ? errno == ENOENT || errno == ENOTDIR
				  : !venv__project_is_here(record, place));
}

/* The uuid in a directory's .machines; *ret stays NULL when there is none that looks like one. */
static int read_uuid(int dir_fd, char **ret, venv_error **err)
{
	_cleanup_close_ int fd =
		openat(dir_fd, MACHINES_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_json_ json_t *record = NULL;
	const char *uuid;

	if (fd < 0)
		return 0;
	if (venv__json_read(fd, "project.json", &record, NULL) == VENV_ERR_NOMEM)
		return venv__fail_nomem(err);
	uuid = venv__json_str(record, "uuid");
	if (!is_id(uuid))
		return 0;
	*ret = strdup(uuid);
	return *ret ? 0 : venv__fail_nomem(err);
}

/* Says what helps where '.machines' cannot be made. */
static int explain_unmade(int r, venv_error *cause, venv_error **err)
{
	if (cause->sys_errno == EROFS) /* no variable moves this directory */
		return venv__hint(venv__fail(err, r, "%s", venv_error_message(cause)), err,
				  "venv keeps the project's identity beside venv.yml: copy the "
				  "project to where you can write, or remount this writable");
	return venv__hint(venv__fail(err, r, "%s", venv_error_message(cause)), err,
			  "this directory belongs to another user: run venv as that user, or "
			  "in a copy that is yours");
}

static int write_uuid(int dir_fd, const char *uuid, venv_error **err)
{
	_cleanup_json_ json_t *record = json_pack("{s:i, s:s}", "version", 1, "uuid", uuid);
	_cleanup_error_ venv_error *cause = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (!record)
		return venv__fail_nomem(err);
	r = venv__dir_make_at(dir_fd, MACHINES_DIR, 0700, &fd, &cause);
	if (r == 0)
		r = venv__file_write(fd, ".gitignore", "*\n", 2, 0644, WRITE_VOLATILE, &cause);
	if (r == 0)
		r = venv__json_write(fd, "project.json", record, WRITE_DURABLE, &cause);
	if (r == VENV_ERR_DENIED || (r < 0 && cause->sys_errno == EROFS))
		return explain_unmade(r, cause, err);
	return r < 0 ? venv__error_take(take_ptr(cause), err) : 0;
}

/* Does the place where a project was seen last still hold it? */
static int is_still_there(const json_t *record, const char *uuid, venv_error **err)
{
	const char *path = venv__json_str(record, "path");
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	_cleanup_free_ char *found = NULL;
	int r = fd < 0 ? 0 : read_uuid(fd, &found, err);

	return r < 0 ? r : found && strcmp(found, uuid) == 0;
}

static int save_place(struct venv_project *project, int dir_fd, int project_fd, venv_error **err)
{
	_cleanup_json_ json_t *record = NULL;
	struct stat st;

	if (fstat(dir_fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot look at '%s'", project->spec->dir);
	record = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I}", "version", 1, "uuid", project->uuid,
			   "name", project->spec->name, "path", project->spec->dir, "device",
			   (json_int_t)st.st_dev, "inode", (json_int_t)st.st_ino);
	if (!record)
		return venv__fail_nomem(err);
	return venv__json_write(project_fd, "project.json", record, WRITE_DURABLE, err);
}

/* Take uuid as this project's; the descriptor passes to the project. */
static int adopt(struct venv_project *project, const char *uuid, int *project_fd, venv_error **err)
{
	project->uuid = strdup(uuid);
	if (!project->uuid)
		return venv__fail_nomem(err);
	project->dir_fd = take_fd(project_fd);
	return 0;
}

static int find_by_uuid(struct venv_project *project, int projects, int dir_fd, const char *uuid,
			venv_error **err)
{
	_cleanup_close_ int fd =
		openat(projects, uuid, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_json_ json_t *record = NULL;
	const char *path;
	bool here, moved;
	int r;

	if (fd < 0)
		return 0;
	r = venv__json_read(fd, "project.json", &record, NULL);
	if (r < 0)
		return r == VENV_ERR_NOMEM ? venv__fail_nomem(err) : 0;
	here = venv__project_is_here(record, dir_fd);
	r = here ? 0 : is_still_there(record, uuid, err);
	if (r != 0)
		return r < 0 ? r : 0;
	path = venv__json_str(record, "path");
	moved = !here || !path || strcmp(path, project->spec->dir) != 0;
	r = adopt(project, uuid, &fd, err);
	if (r == 0 && moved)
		r = save_place(project, dir_fd, project->dir_fd, err);
	return r;
}

static int find_by_place(struct venv_project *project, int projects, int dir_fd, venv_error **err)
{
	_cleanup_strv_ char **names = NULL;
	int r = venv__dir_list(projects, &names, err);

	for (char **name = names; r == 0 && *name && !project->uuid; name++) {
		_cleanup_close_ int fd = -1;
		_cleanup_json_ json_t *record = NULL;
		const char *path;

		if (!is_id(*name))
			continue;
		fd = openat(projects, *name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (venv__json_read(fd, "project.json", &record, NULL) == VENV_ERR_NOMEM)
			return venv__fail_nomem(err);
		path = venv__json_str(record, "path");
		if (!venv__project_is_here(record, dir_fd) || !path ||
		    strcmp(path, project->spec->dir) != 0)
			continue;
		r = adopt(project, *name, &fd, err);
		if (r == 0)
			(void)write_uuid(dir_fd, project->uuid, NULL);
	}
	return r;
}

static int open_dir(const struct venv_project *project, venv_error **err)
{
	int fd = open(project->spec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the project's directory '%s'",
					project->spec->dir);
	return fd;
}

/* `sudo venv` and `venv` would each make machines of their own, and one take the other's identity away. */
static int check_owner(int dir_fd, venv_error **err)
{
	struct stat st;
	int r;

	if (fstatat(dir_fd, MACHINES_DIR, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_uid == geteuid())
		return 0;
	r = venv__fail(err, VENV_ERR_DENIED,
		       "the machines of this directory belong to another user (id %ld)",
		       (long)st.st_uid);
	return venv__hint(r, err,
			  "run venv as that user (with or without sudo, as at first), or in a copy "
			  "of the project that is yours, without '" MACHINES_DIR "'");
}

int venv__project_find(struct venv_project *project, venv_error **err)
{
	_cleanup_close_ int dir_fd = -1, projects = -1;
	_cleanup_free_ char *uuid = NULL;
	int r = 0;

	if (project->uuid)
		return 0;
	if (access(project->ctx->data_dir, F_OK) < 0)
		return 0;
	dir_fd = open_dir(project, err);
	if (dir_fd < 0)
		return dir_fd;
	projects = projects_fd(project->ctx, err);
	if (projects < 0)
		return projects;
	r = read_uuid(dir_fd, &uuid, err);
	if (uuid)
		r = find_by_uuid(project, projects, dir_fd, uuid, err);
	if (r == 0 && !project->uuid)
		r = find_by_place(project, projects, dir_fd, err);
	if (r == 0 && !project->uuid)
		r = check_owner(dir_fd, err);
	return r;
}

static int make_identity(struct venv_project *project, venv_error **err)
{
	_cleanup_close_ int projects = projects_fd(project->ctx, err);
	_cleanup_close_ int dir_fd = -1, fd = -1;
	char uuid[33];
	int r;

	if (projects < 0)
		return projects;
	dir_fd = open_dir(project, err);
	if (dir_fd < 0)
		return dir_fd;
	r = venv__random_id(uuid);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot get random bytes");
	/* the record last: a uuid without one is worth nothing, a record would be found by its place */
	r = write_uuid(dir_fd, uuid, err);
	if (r == 0)
		r = venv__dir_make_at(projects, uuid, 0700, &fd, err);
	if (r == 0)
		r = adopt(project, uuid, &fd, err);
	if (r == 0)
		r = save_place(project, dir_fd, project->dir_fd, err);
	return r;
}

/* Two commands at once in a new project must not make two identities of it. */
static int lock_identities(struct venv *ctx, venv_error **err)
{
	_cleanup_close_ int fd = -1;
	int data = venv__context_data(ctx, err), r;

	if (data < 0)
		return data;
	fd = openat(data, "projects.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open a lock in '%s'", ctx->data_dir);
	r = venv__lock_wait(fd, true);
	return r < 0 ? venv__fail_errno(err, -r, "cannot lock '%s'", ctx->data_dir) : take_fd(&fd);
}

int venv__project_ensure(struct venv_project *project, venv_error **err)
{
	_cleanup_close_ int lock = -1;
	int r = venv__project_find(project, err);

	if (r < 0 || project->uuid)
		goto directories;
	lock = lock_identities(project->ctx, err);
	if (lock < 0)
		return lock;
	r = venv__project_find(project, err);
	if (r == 0 && !project->uuid)
		r = make_identity(project, err);
directories:
	if (r == 0)
		r = venv__dir_make_at(project->dir_fd, "machines", 0700, NULL, err);
	if (r == 0)
		r = venv__dir_make_at(project->dir_fd, "locks", 0700, NULL, err);
	return r;
}

/* ---- The public side ----------------------------------------------------------------------- */

/* *ret stays NULL where there is no venv.yml. */
static int climb(const char *start, char **ret, venv_error **err)
{
	_cleanup_free_ char *dir = realpath(start, NULL);
	char *slash;

	if (!dir && errno == ENOMEM)
		return venv__fail_nomem(err);
	while (dir) {
		_cleanup_free_ char *file = venv__path_join(dir, "venv.yml");

		if (!file)
			return venv__fail_nomem(err);
		if (faccessat(AT_FDCWD, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			*ret = take_ptr(file);
			return 0;
		}
		slash = strrchr(dir, '/');
		if (!slash || !dir[1])
			return 0;
		slash[slash == dir ? 1 : 0] = '\0';
	}
	return 0;
}

/* Who stands in a directory that somebody deleted has machines that no venv.yml names any more. */
static int deleted(const char *dir, venv_error **err)
{
	int r;

	if (strcmp(dir, ".") != 0)
		return venv__fail(err, VENV_ERR_NOT_FOUND, "the directory '%s' does not exist",
				  dir);
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "this directory was deleted");
	return venv__hint(
		r, err,
		"see what is left of it with 'venv global-status', remove its machines with "
		"'venv destroy --id ID'");
}

static int find_file(const venv_project_options *o, char **ret, venv_error **err)
{
	const char *named = o->file ? o->file : getenv("VENV_FILE");
	const char *dir = o->dir ? o->dir : ".";
	_cleanup_free_ char *joined = NULL, *real = NULL;
	int r;

	if (named && *named) {
		joined = o->dir ? venv__path_join(dir, named) : strdup(named);
		r = joined ? venv__spec_open(joined, err) : venv__fail_nomem(err);
		if (r < 0)
			return r;
		(void)close(r);
		*ret = joined ? realpath(joined, NULL) : NULL;
		if (*ret)
			return 0;
		return venv__fail_errno(err, errno, "cannot open '%s'", named);
	}
	r = climb(dir, &joined, err);
	if (r < 0)
		return r;
	if (joined) {
		*ret = take_ptr(joined);
		return 0;
	}
	real = realpath(dir, NULL);
	if (!real && errno == ENOENT)
		return deleted(dir, err);
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "no venv.yml in this directory or above it");
	return venv__hint(r, err, "make one with 'venv init'");
}

int venv_project_open(venv *ctx, const venv_project_options *options, venv_project **ret,
		      venv_error **err)
{
	venv_project_options o = VENV_PROJECT_OPTIONS_INIT;
	_cleanup_free_ char *file = NULL;
	venv_project *project;
	int r;

	r = venv__options(&o, options, sizeof(o), err);
	if (r == 0)
		r = find_file(&o, &file, err);
	if (r < 0)
		return r;
	project = calloc(1, sizeof(*project));
	if (!project)
		return venv__fail_nomem(err);
	project->ctx = ctx;
	project->dir_fd = -1;
	r = venv__spec_load(file, o.set, &project->spec, err);
	if (r == 0)
		r = venv__project_find(project, err);
	if (r < 0) {
		venv_project_free(project);
		return r;
	}
	*ret = project;
	return 0;
}

void venv_project_free(venv_project *project)
{
	if (!project)
		return;
	venv__spec_free(project->spec);
	free(project->uuid);
	if (project->dir_fd >= 0)
		(void)close(project->dir_fd);
	free(project);
}

const char *venv_project_name(const venv_project *project)
{
	return project->spec->name;
}

const char *venv_project_dir(const venv_project *project)
{
	return project->spec->dir;
}

size_t venv_project_count(const venv_project *project)
{
	return project->spec->n_machines;
}

const char *venv_project_machine(const venv_project *project, size_t i)
{
	return i < project->spec->n_machines ? project->spec->machines[i].name : NULL;
}

const char *venv_project_primary(const venv_project *project)
{
	const struct machine_spec *machine = venv__spec_primary(project->spec);

	return machine ? machine->name : NULL;
}

static const char template[] =
	"# A development machine for this project. Start it with 'venv up', enter it with 'venv ssh'.\n"
	"# Every key is described in venv.yml(5); 'venv validate' checks this file.\n"
	"box: %s\n"
	"\n"
	"# memory: 2G\n"
	"# cpus: 2\n"
	"\n"
	"# This directory is /workspace in the machine; name others, or [] for none.\n"
	"# folders:\n"
	"#   - .:/workspace\n"
	"\n"
	"# host port : port in the machine, on 127.0.0.1 only\n"
	"# ports:\n"
	"#   - 8080:80\n"
	"\n"
	"# Run once, when the machine is new or the text changes.\n"
	"# provision:\n"
	"#   - name: packages\n"
	"#     run: |\n"
	"#       apt-get update\n"
	"#       apt-get install -y git\n";

/* A box reference goes into the file as it is when it is plain, else quoted for YAML. */
static char *quote(const char *box)
{
	struct buf text = { 0 };

	if (box[strspn(box,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")] ==
		    0 &&
	    *box && *box != '-')
		return strdup(box);
	venv__buf_puts(&text, "'");
	for (; *box; box++)
		venv__buf_printf(&text, *box == '\'' ? "%c'" : "%c", *box);
	venv__buf_puts(&text, "'");
	return venv__buf_steal(&text);
}

int venv_project_init(venv *ctx, const char *dir, const char *box, int force, venv_error **err)
{
	_cleanup_free_ char *quoted = quote(box ? box : "debian/12");
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	(void)ctx;
	if (!quoted || asprintf(&text, template, quoted) < 0) {
		text = NULL;
		return venv__fail_nomem(err);
	}
	if (strpbrk(quoted, "\n\r"))
		return venv__fail(err, VENV_ERR_INVALID, "a box's name has no line breaks");
	fd = open(dir ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open the directory '%s'",
					dir ? dir : ".");
	if (!force && faccessat(fd, "venv.yml", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		r = venv__fail(err, VENV_ERR_EXISTS, "there is a venv.yml already");
		return venv__hint(r, err, "edit it, or replace it with 'venv init --force'");
	}
	return venv__file_write(fd, "venv.yml", text, strlen(text), 0644, WRITE_VOLATILE, err);
}
