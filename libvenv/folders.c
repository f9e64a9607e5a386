/* SPDX-License-Identifier: Apache-2.0 */
/* The folders and volumes of one machine: opened for its provider, and what is to be said about them. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lifecycle.h"

void venv__folders_done(struct machine *machine)
{
	for (size_t i = 0; i < machine->n_folders; i++) {
		struct machine_folder *folder = &machine->folders[i];

		free(folder->host);
		free(folder->guest);
		free(folder->hide);
		free(folder->owner);
		if (folder->host_fd >= 0)
			(void)close(folder->host_fd);
	}
	free(machine->folders);
	machine->folders = NULL;
	machine->n_folders = 0;
}

static int missing_folder(const struct folder_spec *folder, int number, venv_error **err)
{
	const struct place *at = &folder->place;
	int r;

	if (number == EXDEV) {
		r = venv__fail_at(err, VENV_ERR_DENIED, at->file, at->line, at->column,
				  "folder '%s' leads out of the project by a symbolic link",
				  folder->host);
		return venv__hint(r, err, "name the directory itself, then run 'venv approve'");
	}
	if (number == ENOTDIR) {
		r = venv__fail_at(err, VENV_ERR_CONFIG, at->file, at->line, at->column,
				  "folder '%s' is not a directory", folder->host);
		return venv__hint(r, err, "share the directory that holds it");
	}
	if (number != ENOENT)
		return venv__fail_at(err, venv__code_of_errno(number), at->file, at->line,
				     at->column, "cannot open the folder '%s': %s", folder->host,
				     strerror(number));
	r = venv__fail_at(err, VENV_ERR_CONFIG, at->file, at->line, at->column,
			  "folder '%s' does not exist", folder->host);
	return venv__hint(r, err, "make it with 'mkdir -p %s'", folder->host);
}

static int add_folder(struct work *work, const struct folder_spec *spec, venv_error **err)
{
	struct machine_folder *folder = &work->machine.folders[work->machine.n_folders];
	const char *rest = NULL;
	int fd = venv__open_inside(work->project->spec->dir, spec->host, O_PATH | O_DIRECTORY);

	if (fd < 0)
		return missing_folder(spec, -fd, err);
	*folder = (struct machine_folder){ .host_fd = fd, .read_only = spec->mode == FOLDER_RO };
	work->machine.n_folders++;
	folder->host = strdup(spec->host);
	folder->guest = strdup(spec->guest);
	folder->owner = spec->owner ? strdup(spec->owner) : NULL;
	if (venv__path_below(work->project->spec->dir, spec->host, &rest)) {
		folder->hide = *rest ? venv__path_join(rest, ".machines") : strdup(".machines");
		folder->hide_machines = true;
	}
	if (!folder->host || !folder->guest || (folder->hide_machines && !folder->hide))
		return venv__fail_nomem(err);
	return 0;
}

static int open_volume(struct work *work, const char *name, int *ret, venv_error **err)
{
	_cleanup_close_ int volumes = -1;
	int r = venv__dir_make_at(work->project->dir_fd, "volumes", 0700, &volumes, err);

	if (r < 0)
		return r;
	if (faccessat(volumes, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		r = venv__store_make_dir(work->project->ctx, volumes, name, 0, 0, 0755, err);
		if (r < 0)
			return r;
	}
	*ret = openat(volumes, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? venv__fail_errno(err, errno, "cannot open the volume '%s'", name) : 0;
}

static int add_volume(struct work *work, const struct volume_spec *spec, venv_error **err)
{
	struct machine_folder *folder = &work->machine.folders[work->machine.n_folders];
	int fd = -1, r = open_volume(work, spec->name, &fd, err);

	if (r < 0)
		return r;
	*folder = (struct machine_folder){ .host_fd = fd, .volume = true };
	work->machine.n_folders++;
	folder->guest = strdup(spec->guest);
	if (asprintf(&folder->host, "%s/projects/%s/volumes/%s", work->project->ctx->data_dir,
		     work->project->uuid, spec->name) < 0)
		folder->host = NULL;
	return folder->guest && folder->host ? 0 : venv__fail_nomem(err);
}

int venv__folders_open(struct work *work, venv_error **err)
{
	const struct machine_spec *spec = work->spec;
	int r = 0;

	venv__folders_done(&work->machine);
	work->machine.folders =
		calloc(spec->n_folders + spec->n_volumes + 1, sizeof(*work->machine.folders));
	if (!work->machine.folders)
		return venv__fail_nomem(err);
	for (size_t i = 0; r == 0 && i < spec->n_folders; i++)
		r = add_folder(work, &spec->folders[i], err);
	for (size_t i = 0; r == 0 && i < spec->n_volumes; i++)
		r = add_volume(work, &spec->volumes[i], err);
	return r;
}

/* ---- Warnings ------------------------------------------------------------------------------ */

/* Can every user of this host reach the directory: is each one on the way up to be passed by all? */
static bool reachable_by_all(int dir_fd)
{
	_cleanup_close_ int fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat here, above;

	while (fd >= 0 && fstat(fd, &here) == 0 && (here.st_mode & S_IXOTH)) {
		int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		(void)close(fd);
		fd = up;
		if (fd < 0 || fstat(fd, &above) < 0)
			return false;
		if (above.st_dev == here.st_dev && above.st_ino == here.st_ino)
			return true;
	}
	return false;
}

/*
 * What the machine makes in a folder belongs to the folder's owner, with whatever mode bits it likes:
 * the kernel has no mount that keeps a set-user-ID bit out of a file. Where the owner is the host's
 * root, a file that others can run is a way to become root; so it is said.
 */
int venv__folders_warn(const struct work *work, char ***warnings)
{
	for (size_t i = 0; i < work->machine.n_folders; i++) {
		const struct machine_folder *folder = &work->machine.folders[i];
		struct stat status;

		if (folder->volume || folder->read_only || fstat(folder->host_fd, &status) < 0 ||
		    status.st_uid != 0 || !reachable_by_all(folder->host_fd))
			continue;
		if (venv__strv_addf(
			    warnings,
			    "the folder '%s' belongs to root and every user of this host can "
			    "reach it: a program in the machine could leave a set-user-ID file "
			    "there that makes them root; close it with 'chmod o-x %s'",
			    folder->host, folder->host) < 0)
			return -ENOMEM;
	}
	return 0;
}
