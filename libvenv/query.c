/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: they take no lock and start nothing. The form of the answers is in docs/JSON.md. */
#include <fcntl.h>
#include <string.h>

#include "lifecycle.h"
#include "locks.h"
#include "net/net.h"
#include "value.h"

/* What `names` selects: NULL-terminated specs, owned by the caller; no names: all. */
static int select_specs(struct venv_project *project, const char *const *names,
			const struct machine_spec ***ret, venv_error **err)
{
	const struct project_spec *spec = project->spec;
	const struct machine_spec **list;
	size_t n = 0, named = 0;

	while (names && names[named])
		named++;
	list = calloc(MAX(named, spec->n_machines) + 1, sizeof(struct machine_spec *));
	if (!list)
		return venv__fail_nomem(err);
	for (size_t i = 0; !named && i < spec->n_machines; i++)
		list[n++] = &spec->machines[i];
	for (size_t i = 0; i < named; i++) {
		list[n] = venv__spec_machine(spec, names[i]);
		if (!list[n++]) {
			free(list);
			return venv__unknown_machine(project, names[i], err);
		}
	}
	*ret = list;
	return 0;
}

/* Ports and addresses of all machines of a project, asked of netd once; *ret stays NULL without an answer. */
static int network_of(struct venv_project *project, json_t **ret, venv_error **err)
{
	struct net_project net = { .uuid = project->uuid,
				   .name = project->spec->name,
				   .dir_fd = project->dir_fd,
				   .spec = project->spec };

	if (!project->uuid || venv__net_query(&net, "list", ret, NULL) != VENV_ERR_NOMEM)
		return 0;
	return venv__fail_nomem(err);
}

static const json_t *attachment_of(const json_t *network, const char *id)
{
	const json_t *machines = json_object_get(network, "machines");
	const json_t *machine;
	size_t i;

	json_array_foreach(machines, i, machine)
	{
		const char *own = venv__json_str(machine, "machine");

		if (own && id && strcmp(own, id) == 0)
			return machine;
	}
	return NULL;
}

static json_t *addresses_of(const json_t *attachment)
{
	const json_t *interfaces = json_object_get(attachment, "interfaces");
	const json_t *interface;
	json_t *list = json_array();
	size_t i;

	json_array_foreach(
		interfaces, i,
		interface) if (json_array_append_new(list,
						     venv__json_pack(
							     "{s:s*, s:s*}", "network",
							     venv__json_str(interface, "network"),
							     "address",
							     venv__json_str(interface,
									    "address"))) < 0)
	{
		json_decref(list);
		return NULL;
	}
	return list;
}

static bool has_network(const struct work *work)
{
	const json_t *spec = json_object_get(work->record.spec, "spec");

	return json_array_size(json_object_get(spec, "networks")) > 0;
}

/* What was found when it started, and what is wrong now; an empty list when nothing is. */
static json_t *warnings_of(const struct work *work, bool attached)
{
	const json_t *known = json_object_get(work->record.state, "warnings");
	json_t *list;

	list = json_is_array(known) ? json_deep_copy(known) : json_array();
	if (attached || !has_network(work))
		return list;
	if (json_array_append_new(
		    list, json_sprintf("its network is down, ports and addresses too: 'venv up %s' "
				       "repairs it",
				       work->spec->name)) == 0)
		return list;
	json_decref(list);
	return NULL;
}

/* Set what is there. 0 or -1 */
static int add(json_t *json, const char *key, json_t *value)
{
	return value ? json_object_set(json, key, value) : 0;
}

/* The user's ports; the one that is there for the machine's sshd goes to *ret_ssh, if there is one. */
static json_t *ports_of(const json_t *attachment, json_t **ret_ssh)
{
	const json_t *ports = json_object_get(attachment, "ports");
	json_t *list = json_array();
	int failed = !list;

	for (size_t i = 0; i < json_array_size(ports); i++) {
		json_t *port = json_array_get(ports, i);

		if (json_object_get(port, "service"))
			*ret_ssh = json_object_get(port, "host");
		else
			failed |= json_array_append(list, port);
	}
	if (!failed)
		return list;
	json_decref(list);
	return NULL;
}

/* ssh_port: of the network's, where the provider has none */
static int add_info(json_t *json, struct work *work, json_t *ssh_port)
{
	_cleanup_json_ json_t *info = NULL;
	json_t *own;
	int failed = 0, r;

	r = work->provider->info ? work->provider->info(&work->machine, &info, NULL) : -ENOTSUP;
	if (r < 0)
		return r == VENV_ERR_NOMEM ? -1 : 0;
	own = json_object_get(info, "ssh_port");
	failed |=
		json_object_set_new(json, "ssh",
				    venv__json_pack("{s:s, s:O*, s:s}", "host", "127.0.0.1", "port",
						    own ? own : ssh_port, "user", work->login));
	failed |= add(json, "pid", json_object_get(info, "pid"));
	failed |= add(json, "started", json_object_get(info, "started"));
	return failed;
}

static int add_running(json_t *json, struct work *work, const json_t *network)
{
	const json_t *attachment = attachment_of(network, work->record.id);
	_cleanup_json_ json_t *warnings = warnings_of(work, attachment != NULL);
	json_t *ssh_port = NULL;
	_cleanup_json_ json_t *ports = ports_of(attachment, &ssh_port);
	int failed = add_info(json, work, ssh_port);

	failed |= !warnings || !ports;
	if (!attachment && has_network(work))
		failed |= json_object_set_new(json, "network_down", json_true());
	if (json_array_size(warnings))
		failed |= json_object_set(json, "warnings", warnings);
	if (attachment) {
		failed |= json_object_set_new(json, "addresses", addresses_of(attachment));
		failed |= json_object_set(json, "ports", ports);
	}
	return failed;
}

static json_t *describe(struct work *work, const json_t *network, enum machine_state state)
{
	const json_t *box = json_object_get(work->record.spec, "box");
	_cleanup_free_ char *holder =
		work->project->uuid ? venv__operation_holder(work->project, work->spec->name)
				    : NULL;
	json_t *json = json_object();
	int failed = 0;

	failed |= venv__json_set_str(json, "name", work->spec->name);
	failed |= venv__json_set_str(json, "state", venv__machine_state_name(state));
	failed |= venv__json_set_str(json, "id", work->record.id);
	failed |= venv__json_set_str(json, "provider",
				     work->provider ? work->provider->name : work->spec->provider);
	failed |= venv__json_set_str(
		json, "box", work->record.id ? venv__json_str(box, "reference") : work->spec->box);
	failed |= venv__json_set_str(json, "box_version", venv__json_str(box, "version"));
	failed |= venv__json_set_str(json, "box_digest", venv__json_str(box, "digest"));
	failed |= venv__json_set_str(json, "directory", work->record.dir);
	failed |= venv__json_set_str(json, "user", work->login);
	failed |= venv__json_set_str(json, "busy", holder);
	failed |= json_object_set_new(
		json, "primary",
		json_boolean(venv__spec_primary(work->project->spec) == work->spec));
	if (work->provider &&
	    (state == MACHINE_RUNNING || state == MACHINE_PAUSED || state == MACHINE_FROZEN))
		failed |= add_running(json, work, network);
	if (!failed)
		return json;
	json_decref(json);
	return NULL;
}

static int describe_one(struct venv_project *project, const struct machine_spec *spec,
			const json_t *network, json_t *list, venv_error **err)
{
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	int r;

	venv__work_init(&work, project, spec, NULL);
	r = venv__work_open(&work, err);
	if (r == 0)
		r = venv__work_observe(&work, &state, err);
	if (r < 0)
		return venv__error_set_machine(r, err, spec->name);
	return json_array_append_new(list, describe(&work, network, state)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

int venv_status(venv_project *project, const char *const *names, venv_value **ret, venv_error **err)
{
	_cleanup_free_ const struct machine_spec **specs = NULL;
	_cleanup_strv_ char **orphans = NULL;
	_cleanup_json_ json_t *network = NULL, *list = json_array();
	int r = select_specs(project, names, &specs, err);

	if (r == 0)
		r = network_of(project, &network, err);
	for (size_t i = 0; r == 0 && specs && specs[i]; i++)
		r = describe_one(project, specs[i], network, list, err);
	if (r == 0 && (!names || !*names))
		r = venv__machine_orphans(project, &orphans, err);
	for (char **name = orphans; r == 0 && name && *name; name++) {
		struct machine_spec stranger = { .name = *name };

		r = describe_one(project, &stranger, network, list, err);
		if (r == 0 && json_object_set_new(json_array_get(list, json_array_size(list) - 1),
						  "orphan", json_true()) < 0)
			r = venv__fail_nomem(err);
	}
	return r < 0 ? r : venv__answer(take_ptr(list), ret, err);
}

static json_t *describe_any(struct venv *ctx, const char *id)
{
	struct project_spec owner = { 0 };
	struct machine_spec spec = { 0 };
	struct venv_project project = { .ctx = ctx, .spec = &owner, .dir_fd = -1 };
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	const json_t *box, *place;
	_cleanup_free_ char *path = NULL;
	bool gone;
	int r;

	venv__work_init(&work, &project, &spec, NULL);
	r = venv__machine_open(ctx, id, &work.record, NULL);
	if (r == 0)
		r = venv__work_open_record(&work, NULL);
	if (r == VENV_ERR_NOMEM)
		return NULL;
	if (r < 0)
		return json_pack("{s:s, s:s}", "id", id, "state", "damaged");
	place = json_object_get(work.record.spec, "project");
	box = json_object_get(work.record.spec, "box");
	(void)venv__work_observe(&work, &state, NULL);
	/* where the project was seen last; the machine only knows where it was made */
	gone = venv__project_is_gone(ctx, project.uuid, &path);
	return venv__json_pack("{s:s, s:s*, s:s, s:s*, s:s*, s:s*, s:s*, s:o*}", "id", id, "name",
			       spec.name, "state", venv__machine_state_name(state), "provider",
			       work.provider->name, "box", venv__json_str(box, "reference"),
			       "project", owner.name, "directory",
			       path ? path : venv__json_str(place, "path"), "directory_gone",
			       gone ? json_true() : NULL);
}

int venv_global_status(venv *ctx, venv_value **ret, venv_error **err)
{
	_cleanup_strv_ char **ids = NULL;
	json_t *list;
	int r = venv__machine_ids(ctx, &ids, err);

	if (r < 0)
		return r;
	list = json_array();
	for (char **id = ids; list && *id; id++)
		if (json_array_append_new(list, describe_any(ctx, *id)) < 0) {
			json_decref(list);
			list = NULL;
		}
	return venv__answer(list, ret, err);
}

typedef int (*ask_fn)(struct venv_project *project, const struct machine_spec *spec, json_t *list,
		      venv_error **err);

/* Ask the machines that names selects, one after the other; each adds its answer to the list. */
static int ask_each(struct venv_project *project, const char *const *names, ask_fn fn,
		    venv_value **ret, venv_error **err)
{
	_cleanup_free_ const struct machine_spec **specs = NULL;
	_cleanup_json_ json_t *list = json_array();
	int r = select_specs(project, names, &specs, err);

	for (size_t i = 0; r == 0 && specs && specs[i]; i++)
		r = fn(project, specs[i], list, err);
	return r < 0 ? r : venv__answer(take_ptr(list), ret, err);
}

static int stats_one(struct venv_project *project, const struct machine_spec *spec, json_t *list,
		     venv_error **err)
{
	_cleanup_work_ struct work work;
	_cleanup_json_ json_t *stats = NULL;
	enum machine_state state = MACHINE_ABSENT;
	int r;

	venv__work_init(&work, project, spec, NULL);
	r = venv__work_open(&work, err);
	if (r == 0)
		r = venv__work_observe(&work, &state, err);
	if (r == 0 && state >= MACHINE_RUNNING && state <= MACHINE_FROZEN && work.provider->stats) {
		(void)venv__work_map(&work, NULL); /* without it, less of the disk is seen */
		r = work.provider->stats(&work.machine, &stats, err);
	}
	if (r < 0)
		return venv__error_set_machine(r, err, spec->name);
	if (!stats)
		stats = json_object();
	if (venv__json_set_str(stats, "name", spec->name) < 0 ||
	    venv__json_set_str(stats, "state", venv__machine_state_name(state)) < 0 ||
	    json_array_append(list, stats) < 0)
		return venv__fail_nomem(err);
	return 0;
}

int venv_stats(venv_project *project, const char *const *names, venv_value **ret, venv_error **err)
{
	return ask_each(project, names, stats_one, ret, err);
}

/* ---- plan ---------------------------------------------------------------------------------- */

static json_t *plan_new(struct work *work)
{
	_cleanup_box_ struct box box = { 0 };
	struct venv *ctx = work->project->ctx;
	const struct machine_spec *spec = work->spec;
	const char *how = "missing";
	int r = venv__lock_file_box(work->project, spec->box, spec->version, spec->architecture,
				    &box);

	if (r < 0)
		r = venv__box_open(ctx, spec->box, spec->version, spec->architecture, &box, NULL);
	if (r == 0)
		how = "in the store";
	else if (r == VENV_ERR_NOMEM)
		return NULL;
	else if (venv__box_has_recipe(ctx, spec->box))
		how = venv__box_recipe_fits(ctx, spec->box, spec->version, NULL) < 0
			      ? "missing in this version"
			      : "to be built from its recipe";
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "machine", spec->name, "action", "create",
			 "box", spec->box, "box_state", how, "steps",
			 venv__steps_pending(spec, NULL));
}

static json_t *plan_existing(struct work *work, enum machine_state state)
{
	_cleanup_json_ json_t *now = venv__spec_machine_to_json(work->spec);
	json_t *changes = venv__work_diff(work, now);
	json_t *steps = venv__steps_pending(work->spec, work->record.state);
	const char *action = "none";

	if (!now || !changes || !steps) {
		json_decref(changes);
		json_decref(steps);
		return NULL;
	}
	if (state == MACHINE_STOPPED || state == MACHINE_CRASHED)
		action = "start";
	else if (state == MACHINE_PAUSED || state == MACHINE_FROZEN || state == MACHINE_SUSPENDED)
		action = "resume";
	else if (json_array_size(changes))
		action = "change";
	else if (json_array_size(steps))
		action = "provision";
	return venv__json_pack("{s:s, s:s, s:s, s:o*, s:o*}", "machine", work->spec->name, "action",
			       action, "state", venv__machine_state_name(state), "changes", changes,
			       "steps", steps);
}

static int plan_one(struct venv_project *project, const struct machine_spec *spec, json_t *list,
		    venv_error **err)
{
	_cleanup_work_ struct work work;
	enum machine_state state = MACHINE_ABSENT;
	int r;

	venv__work_init(&work, project, spec, NULL);
	r = venv__work_open(&work, err);
	if (r == 0)
		r = venv__work_observe(&work, &state, err);
	if (r < 0)
		return venv__error_set_machine(r, err, spec->name);
	return json_array_append_new(list, state == MACHINE_ABSENT
						   ? plan_new(&work)
						   : plan_existing(&work, state)) < 0
		       ? venv__fail_nomem(err)
		       : 0;
}

int venv_plan(venv_project *project, const char *const *names, venv_value **ret, venv_error **err)
{
	return ask_each(project, names, plan_one, ret, err);
}

/* ---- ssh-config and paths ------------------------------------------------------------------ */

int venv_ssh_config(venv_project *project, const char *machine, const char *host, char **ret,
		    venv_error **err)
{
	_cleanup_work_ struct work work;
	_cleanup_json_ json_t *info = NULL, *network = NULL, *ports = NULL;
	json_t *own = NULL;
	int64_t port = 0;
	char *text = NULL;
	int n, r = venv__work_open_running(project, machine, NULL, &work, err);

	if (r == 0 && work.spec->ssh.forward_agent)
		r = venv__approval_check_agent(project, work.spec->name, err);
	if (r == 0 && work.provider->info)
		r = work.provider->info(&work.machine, &info, err);
	if (r < 0)
		return r;
	r = venv__work_has_sshd(&work) ? network_of(project, &network, err) : 0;
	if (r < 0)
		return r;
	ports = ports_of(attachment_of(network, work.record.id), &own);
	if (!ports)
		return venv__fail_nomem(err);
	port = venv__json_int(info, "ssh_port", own ? json_integer_value(own) : 22);
	if (venv__work_has_sshd(&work) && !own)
		return venv__hint(venv__fail(err, VENV_ERR_NETWORK, "its network is down"), err,
				  "repair it with 'venv up %s'", work.spec->name);
	n = asprintf(&text,
		     "Host %s\n  HostName 127.0.0.1\n  User %s\n  Port %lld\n"
		     "  UserKnownHostsFile \"%s/keys/known_hosts\"\n  HostKeyAlias venv-%s\n"
		     "  StrictHostKeyChecking yes\n  PasswordAuthentication no\n"
		     "  IdentityFile \"%s/keys/user\"\n  IdentitiesOnly yes\n  LogLevel ERROR\n%s",
		     host ? host : work.spec->name, work.login, (long long)port, work.record.dir,
		     work.record.id, work.record.dir,
		     work.spec->ssh.forward_agent ? "  ForwardAgent yes\n" : "");
	if (n < 0)
		return venv__fail_nomem(err);
	*ret = text;
	return 0;
}

int venv_guest_path(venv_project *project, const char *machine, const char *dir, char **ret,
		    venv_error **err)
{
	const struct machine_spec *spec = machine ? venv__spec_machine(project->spec, machine)
						  : venv__spec_primary(project->spec);
	_cleanup_free_ char *real = realpath(dir, NULL);
	const char *best = NULL, *best_rest = NULL;
	size_t best_length = 0;

	for (size_t i = 0; spec && real && i < spec->n_folders; i++) {
		const char *rest;

		if (!venv__path_below(real, spec->folders[i].host, &rest) ||
		    strlen(spec->folders[i].host) < best_length)
			continue;
		best_length = strlen(spec->folders[i].host);
		best = spec->folders[i].guest;
		best_rest = rest;
	}
	if (!best)
		return venv__fail(err, VENV_ERR_NOT_FOUND, "'%s' lies in no shared folder", dir);
	*ret = *best_rest ? venv__path_join(best, best_rest) : strdup(best);
	return *ret ? 0 : venv__fail_nomem(err);
}

/* ---- Configuration ------------------------------------------------------------------------- */

int venv_config_schema(char **ret, venv_error **err)
{
	_cleanup_json_ json_t *schema = venv__config_schema();
	char *text = schema ? venv__json_text(schema, JSON_INDENT(2)) : NULL;

	if (!text)
		return venv__fail_nomem(err);
	*ret = text;
	return 0;
}

int venv_config_keys(venv_value **ret, venv_error **err)
{
	return venv__answer(venv__config_keys(), ret, err);
}
