/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "cgroup/cgroup.h"
#include "container.h"
#include "image.h"
#include "util/buf.h"

static json_t *environment(const struct machine *machine)
{
	_cleanup_strv_ char **env = venv__strv_copy(machine->image.env);
	char uuid[80];

	(void)snprintf(uuid, sizeof(uuid), "container_uuid=%s", machine->id);
	for (char **entry = machine->spec->env; entry && *entry; entry++)
		if (venv__env_set(&env, *entry) < 0)
			return NULL;
	if (!venv__env_get(env, "PATH") &&
	    venv__env_set(&env,
			  "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") < 0)
		return NULL;
	if (venv__env_set(&env, "container=venv") < 0 || venv__env_set(&env, uuid) < 0)
		return NULL;
	return venv__json_from_strv(env);
}

static json_t *folders(const struct machine *machine)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < machine->n_folders; i++) {
		const struct machine_folder *folder = &machine->folders[i];
		json_t *entry = json_pack("{s:s, s:s, s:b, s:b}", "host", folder->host, "guest",
					  folder->guest, "read_only", folder->read_only, "volume",
					  folder->volume);

		if (!entry)
			break;
		(void)venv__json_set_str(entry, "owner", folder->owner);
		(void)venv__json_set_str(entry, "hide",
					 folder->hide            ? folder->hide
					 : folder->hide_machines ? ".machines"
								 : NULL);
		(void)json_array_append_new(list, entry);
	}
	return list;
}

/* Process 1: the image's own program, or venv-init. */
static int set_init(json_t *plan, const struct machine *machine, venv_error **err)
{
	const struct machine_spec *spec = machine->spec;
	bool system = venv__image_is_system(&machine->image);
	_cleanup_strv_ char **command = NULL;
	int signal_number = SIGTERM;

	if (spec->init == INIT_NONE || (spec->init == INIT_AUTO && !system))
		return json_object_set_new(plan, "stop_signal", json_integer(signal_number));
	command = spec->init == INIT_IMAGE || system ? venv__image_command(&machine->image) : NULL;
	if (spec->init == INIT_SYSTEMD && !command && venv__strv_add(&command, "/sbin/init") < 0)
		return venv__fail_nomem(err);
	if (!command)
		return venv__hint(
			venv__fail(err, VENV_ERR_BOX, "the box has no command of its own"), err,
			"set 'init: auto' in venv.yml");
	if (spec->init != INIT_IMAGE || system) {
		signal_number = 37; /* SIGRTMIN+3: systemd halts */
		(void)json_object_set_new(plan, "systemd", json_true());
	}
	(void)json_object_set_new(plan, "init", venv__json_from_strv(command));
	signal_number = venv__signal_number(machine->image.stop_signal, signal_number);
	return json_object_set_new(plan, "stop_signal", json_integer(signal_number));
}

/* `command: image`, unless that is process 1 already */
static int set_command(json_t *plan, const struct machine *machine, venv_error **err)
{
	_cleanup_strv_ char **command = venv__image_command(&machine->image);
	json_t *request;

	if (machine->spec->command != COMMAND_IMAGE || json_object_get(plan, "init"))
		return 0;
	if (!command)
		return venv__hint(
			venv__fail(err, VENV_ERR_BOX, "the box has no command of its own"), err,
			"remove 'command: image' from venv.yml");
	request = json_pack("{s:o, s:s}", "argv", venv__json_from_strv(command), "user",
			    machine->image.user && *machine->image.user ? machine->image.user
									: "root");
	if (!request)
		return venv__fail_nomem(err);
	(void)venv__json_set_str(
		request, "directory",
		machine->image.workdir && *machine->image.workdir ? machine->image.workdir : "/");
	(void)json_object_set_new(
		request, "stop_signal",
		json_integer(venv__signal_number(machine->image.stop_signal, SIGTERM)));
	return json_object_set_new(plan, "command", request);
}

static void set_network(json_t *plan, const struct machine *machine)
{
	const struct net_attachment *net = machine->net;

	(void)json_object_set_new(plan, "network", json_boolean(net && net->socket >= 0));
	if (!net)
		return;
	(void)venv__json_set_str(plan, "dns", net->dns);
	if (net->n_interfaces)
		(void)venv__json_set_str(plan, "address", net->interfaces[0].address);
}

json_t *container_plan(const struct machine *machine, venv_error **err)
{
	const struct machine_spec *spec = machine->spec;
	_cleanup_json_ json_t *plan = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:i, s:I}",
		"id", machine->id, "name", machine->name, "dir", machine->dir, "libexec",
		machine->ctx->libexec_dir, "hostname",
		spec->hostname ? spec->hostname : machine->name, "login",
		machine->login ? machine->login : "root", "map", venv__idmap_to_json(machine->map),
		"env", environment(machine), "layers", venv__json_from_strv(machine->image.layers),
		"folders", folders(machine), "limits", venv__cgroup_limits(spec), "app",
		spec->profile == PROFILE_APP, "ssh",
		faccessat(machine->dir_fd, "keys/host", R_OK, 0) == 0, "forward_agent",
		spec->ssh.forward_agent, "ssh_port", (int)spec->ssh.port, "stop_timeout_ms",
		(json_int_t)(spec->stop_timeout_ms ? spec->stop_timeout_ms : 60000));

	if (!plan) {
		(void)venv__fail_nomem(err);
		return NULL;
	}
	if (machine->hosts)
		(void)json_object_set_new(plan, "hosts", venv__json_from_strv(machine->hosts));
	if (spec->ssh.extra_keys)
		(void)json_object_set_new(plan, "extra_keys",
					  venv__json_from_strv(spec->ssh.extra_keys));
	set_network(plan, machine);
	if (set_init(plan, machine, err) < 0 || set_command(plan, machine, err) < 0)
		return NULL;
	return take_ptr(plan);
}
