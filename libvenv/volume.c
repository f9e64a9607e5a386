/* SPDX-License-Identifier: Apache-2.0 */
/* Named volumes: they survive destroy, and go only by `venv volume rm`. */
#include <fcntl.h>
#include <string.h>

#include "lifecycle.h"
#include "value.h"

static int open_volumes(const struct venv_project *project)
{
	if (!project->uuid)
		return -1;
	return openat(project->dir_fd, "volumes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool mounts(const struct machine_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->n_volumes; i++)
		if (strcmp(spec->volumes[i].name, name) == 0)
			return true;
	return false;
}

static bool runs(struct venv_project *project, const struct machine_spec *spec)
{
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;

	venv__work_init(&work, project, spec, NULL);
	return venv__work_open(&work, NULL) == 0 && venv__work_observe(&work, &state, NULL) == 0 &&
	       ((state >= MACHINE_STARTING && state <= MACHINE_STOPPING) ||
		state == MACHINE_SUSPENDED);
}

/* The machines of venv.yml that mount it, those that run apart. */
static void users_of(struct venv_project *project, const char *name, json_t *all, json_t *running)
{
	for (size_t i = 0; i < project->spec->n_machines; i++) {
		const struct machine_spec *spec = &project->spec->machines[i];

		if (!mounts(spec, name))
			continue;
		(void)json_array_append_new(all, json_string(spec->name));
		if (runs(project, spec))
			(void)json_array_append_new(running, json_string(spec->name));
	}
}

int venv_volume_list(venv_project *project, venv_value **ret, venv_error **err)
{
	_cleanup_close_ int volumes = open_volumes(project);
	_cleanup_strv_ char **names = NULL;
	json_t *list;
	int r = volumes < 0 ? 0 : venv__dir_list(volumes, &names, err);

	if (r < 0)
		return r;
	list = json_array();
	for (char **name = names; list && name && *name; name++) {
		json_t *users = json_array(), *running = json_array();

		users_of(project, *name, users, running);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s++++, s:o, s:o}", "name", *name, "path",
					project->ctx->data_dir, "/projects/", project->uuid,
					"/volumes/", *name, "machines", users, "running", running));
	}
	return venv__answer(list, ret, err);
}

int venv_volume_remove(venv_project *project, const char *name, venv_error **err)
{
	_cleanup_close_ int volumes = open_volumes(project);
	_cleanup_json_ json_t *users = json_array(), *running = json_array();
	int r;

	if (volumes < 0 || strchr(name, '/') || *name == '.' || !*name ||
	    faccessat(volumes, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		r = venv__fail(err, VENV_ERR_NOT_FOUND, "there is no volume '%s'", name);
		return venv__hint(r, err, "see the volumes with 'venv volume list'");
	}
	users_of(project, name, users, running);
	if (json_array_size(running)) {
		r = venv__fail(err, VENV_ERR_BUSY,
			       "volume '%s' is used by the running machine '%s'", name,
			       json_string_value(json_array_get(running, 0)));
		return venv__hint(r, err, "stop it first: 'venv halt %s'",
				  json_string_value(json_array_get(running, 0)));
	}
	return venv__store_remove_tree(project->ctx, volumes, name, err);
}
