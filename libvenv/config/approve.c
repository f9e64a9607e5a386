/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What in a file reaches the host: it counts only when the user has approved it (architecture.md).
 */
#include "keys.h"

#include <arpa/inet.h>
#include <string.h>

struct collection {
	json_t *list;
	const char *machine;
	bool failed;
};

static void collect(struct collection *c, const struct place *place, const char *key,
		    const char *format, ...) _printf_(4, 5);

static bool set_place(json_t *entry, const struct place *place)
{
	return !place->line ||
	       (json_object_set_new(entry, "file", json_string(place->file)) == 0 &&
		json_object_set_new(entry, "line", json_integer(place->line)) == 0 &&
		json_object_set_new(entry, "column", json_integer(place->column)) == 0);
}

static void collect(struct collection *c, const struct place *place, const char *key,
		    const char *format, ...)
{
	va_list args;
	json_t *value, *entry;

	va_start(args, format);
	value = json_vsprintf(format, args);
	va_end(args);
	entry = json_pack("{s:s,s:s,s:o}", "machine", c->machine, "key", key, "value", value);
	c->failed |= !entry || !set_place(entry, place) || json_array_append(c->list, entry) < 0;
	json_decref(entry);
}

/* Its value is nobody's business: what is approved is that the machine may have it. */
int venv__spec_note_variable(struct project_spec *spec, const char *machine,
			     const struct variable *variable, venv_error **err)
{
	_cleanup_json_ json_t *key = json_sprintf("${%s}", variable->name);
	json_t *entry;
	size_t i;

	if (!spec->approve)
		spec->approve = json_array();
	json_array_foreach(spec->approve, i, entry)
	{
		const char *other = venv__json_str(entry, "machine");

		if (json_equal(json_object_get(entry, "key"), key) &&
		    (machine && other ? strcmp(machine, other) == 0 : machine == other))
			return 0;
	}
	entry = venv__json_pack("{s:s*, s:O, s:n}", "machine", machine, "key", key, "value");
	if (!entry || !set_place(entry, &variable->place) ||
	    json_array_append(spec->approve, entry) < 0) {
		json_decref(entry);
		return venv__fail_nomem(err);
	}
	json_decref(entry);
	return 0;
}

static bool is_loopback(const char *address)
{
	struct in6_addr six;
	uint32_t four;

	if (venv__parse_ipv4(address, &four))
		return four >> 24 == 127;
	return inet_pton(AF_INET6, address, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static void collect_folders(struct collection *c, const struct machine_spec *machine)
{
	for (size_t i = 0; i < machine->n_folders; i++) {
		const struct folder_spec *folder = &machine->folders[i];

		if (folder->outside)
			collect(c, &folder->place, "folders", "%s:%s:%s", folder->host,
				folder->guest, folder->mode == FOLDER_RO ? "ro" : "rw");
	}
}

static void collect_ports(struct collection *c, const struct machine_spec *machine)
{
	for (size_t i = 0; i < machine->n_ports; i++) {
		const struct port_spec *port = &machine->ports[i];
		const char *protocol = port->protocol == PROTOCOL_UDP ? "udp" : "tcp";

		if (is_loopback(port->address))
			continue;
		if (strchr(port->address, ':'))
			collect(c, &port->place, "ports", "[%s]:%u:%u/%s", port->address,
				port->host, port->guest, protocol);
		else
			collect(c, &port->place, "ports", "%s:%u:%u/%s", port->address, port->host,
				port->guest, protocol);
	}
}

/* Files that would be carried into the machine, commands that would run on the host. */
static void collect_steps(struct collection *c, const struct machine_spec *machine)
{
	for (size_t i = 0; i < machine->n_steps; i++) {
		const struct step_spec *step = &machine->steps[i];

		if (step->outside)
			collect(c, &step->place, "provision", "%s",
				step->script ? step->script : step->copy_from);
	}
	for (size_t i = 0; i < machine->n_triggers; i++)
		if (machine->triggers[i].where == TRIGGER_HOST)
			collect(c, &machine->triggers[i].place, "triggers", "%s",
				machine->triggers[i].run);
}

/* A box file of the host's would be readable in the machine. */
static void collect_box(struct collection *c, const struct machine_spec *machine, const char *dir)
{
	if (machine->box && *machine->box == '/' && !venv__path_below(machine->box, dir, NULL))
		collect(c, &machine->box_place, "box", "%s", machine->box);
}

/* What a machine boots can be read in it. */
static void collect_kvm(struct collection *c, const struct machine_spec *machine, const char *dir)
{
	const struct {
		const char *key, *path;
		const struct place *place;
	} files[] = {
		{ "kvm.kernel", machine->kvm.kernel, &machine->kvm.kernel_place },
		{ "kvm.initrd", machine->kvm.initrd, &machine->kvm.initrd_place },
		{ "kvm.firmware", machine->kvm.firmware, &machine->kvm.firmware_place },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].path && *files[i].path == '/' &&
		    !venv__path_below(files[i].path, dir, NULL))
			collect(c, files[i].place, files[i].key, "%s", files[i].path);
}

static void collect_machine(struct collection *c, const struct machine_spec *machine,
			    const char *dir)
{
	collect_box(c, machine, dir);
	collect_folders(c, machine);
	collect_ports(c, machine);
	if (machine->host_access)
		collect(c, &machine->host_access_place, "host_access", "true");
	for (char **device = machine->devices; device && *device; device++)
		collect(c, &machine->place, "devices", "%s", *device);
	if (machine->env_file_outside)
		collect(c, &machine->env_file_place, "env_file", "%s", machine->env_file);
	collect_steps(c, machine);
	/* --set is the user's own word, as 'venv ssh -A' is */
	if (machine->ssh.forward_agent && machine->ssh.forward_agent_place.line)
		collect(c, &machine->ssh.forward_agent_place, "ssh.forward_agent", "true");
	collect_kvm(c, machine, dir);
	if (machine->libvirt.xml)
		collect(c, &machine->place, "libvirt", "%s", machine->libvirt.xml);
}

int venv__spec_collect_approvals(struct project_spec *spec, venv_error **err)
{
	struct collection c = { .list = spec->approve ? spec->approve : json_array() };

	spec->approve = c.list;
	if (!c.list)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < spec->n_machines && !c.failed; i++) {
		c.machine = spec->machines[i].name;
		collect_machine(&c, &spec->machines[i], spec->dir);
	}
	return c.failed ? venv__fail_nomem(err) : 0;
}
