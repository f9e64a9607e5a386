/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <signal.h>
#include <string.h>

#include "util/buf.h"

static int parse_folders(struct plan *plan)
{
	const json_t *list = json_object_get(plan->json, "folders"), *entry;
	size_t i;

	plan->folders = calloc(json_array_size(list) + 1, sizeof(*plan->folders));
	if (!plan->folders)
		return -1;
	json_array_foreach(list, i, entry)
	{
		plan->folders[plan->n_folders++] = (struct plan_folder){
			.host = venv__json_str(entry, "host"),
			.guest = venv__json_str(entry, "guest"),
			.hide = venv__json_str(entry, "hide"),
			.owner = venv__json_str(entry, "owner"),
			.read_only = venv__json_bool(entry, "read_only", false),
			.volume = venv__json_bool(entry, "volume", false),
			.fd = -1,
		};
	}
	return 0;
}

static bool complete(const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_folders; i++)
		if (!plan->folders[i].host || !plan->folders[i].guest)
			return false;
	return plan->id && plan->name && plan->dir && plan->libexec && plan->hostname &&
	       plan->login && plan->layers && plan->layers[0];
}

int plan_parse(json_t *json, struct plan *ret, venv_error **err)
{
	struct plan plan = { .json = json };
	bool mapped = venv__idmap_from_json(json_object_get(json, "map"), &plan.map);

	plan.id = venv__json_str(json, "id");
	plan.name = venv__json_str(json, "name");
	plan.dir = venv__json_str(json, "dir");
	plan.libexec = venv__json_str(json, "libexec");
	plan.hostname = venv__json_str(json, "hostname");
	plan.login = venv__json_str(json, "login");
	plan.dns = venv__json_str(json, "dns");
	plan.address = venv__json_str(json, "address");
	plan.uuid = venv__json_str(json, "uuid");
	plan.app = venv__json_bool(json, "app", false);
	plan.systemd = venv__json_bool(json, "systemd", false);
	plan.network = venv__json_bool(json, "network", false);
	plan.init = venv__json_strv(json, "init");
	plan.env = venv__json_strv(json, "env");
	plan.layers = venv__json_strv(json, "layers");
	plan.hosts = venv__json_strv(json, "hosts");
	plan.extra_keys = venv__json_strv(json, "extra_keys");
	plan.limits = json_object_get(json, "limits");
	plan.command = json_object_get(json, "command");
	plan.stop_signal = (int)venv__json_int(json, "stop_signal", SIGTERM);
	plan.stop_timeout_ms = (unsigned)venv__json_int(json, "stop_timeout_ms", 60000);
	plan.ssh = venv__json_bool(json, "ssh", false);
	plan.ssh_port = (int)venv__json_int(json, "ssh_port", 0);
	plan.forward_agent = venv__json_bool(json, "forward_agent", false);
	if (parse_folders(&plan) < 0 || !mapped || !complete(&plan)) {
		plan_done(&plan);
		return venv__fail(err, VENV_ERR_INVALID, "the plan of the machine is incomplete");
	}
	*ret = plan;
	return 0;
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->n_folders; i++)
		if (plan->folders[i].fd >= 0)
			(void)close(plan->folders[i].fd);
	free(plan->folders);
	venv__strv_free(plan->init);
	venv__strv_free(plan->env);
	venv__strv_free(plan->layers);
	venv__strv_free(plan->hosts);
	venv__strv_free(plan->extra_keys);
	json_decref(plan->json);
	*plan = (struct plan){ 0 };
}
