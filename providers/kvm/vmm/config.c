/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <fcntl.h>
#include <string.h>

#include "machine/layout.h"
#include "mem.h"

enum { RECEIVE_MS = 10000, STOP_TIMEOUT_MS = 60000 };

_Static_assert((int)LAYOUT_CPUS_MAX == (int)KVM_CPUS_MAX, "what is ordered can be had");

int config_fd(const struct config *config, const json_t *json, const char *key)
{
	const json_t *value = json_object_get(json, key);
	json_int_t number = json_integer_value(value);

	if (!value)
		return -1;
	if (!json_is_integer(value) || number < 0 || (size_t)number >= config->n_fds)
		return -2;
	return config->fd[number];
}

static int parse_fds(struct config *config, venv_error **err)
{
	const struct {
		const char *key;
		int *ret;
	} files[] = {
		{ "kernel", &config->kernel },           { "initrd", &config->initrd },
		{ "firmware", &config->firmware },       { "state", &config->state },
		{ "memory_file", &config->memory_file },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		*files[i].ret = config_fd(config, config->json, files[i].key);
		if (*files[i].ret == -2)
			return venv__fail(err, VENV_ERR_INVALID, "no descriptor for '%s'",
					  files[i].key);
	}
	if ((config->kernel < 0) == (config->firmware < 0))
		return venv__fail(err, VENV_ERR_INVALID,
				  "a machine boots a kernel or firmware, one of both");
	if ((config->state < 0) != (config->memory_file < 0))
		return venv__fail(err, VENV_ERR_INVALID,
				  "a suspended machine has state and memory");
	return 0;
}

int config_parse(struct config *config, venv_error **err)
{
	const json_t *json = config->json;
	int64_t memory = venv__json_int(json, "memory", 0), cpus = venv__json_int(json, "cpus", 1),
		sockets = venv__json_int(json, "sockets", 1);
	int64_t timeout = venv__json_int(json, "stop_timeout_ms", STOP_TIMEOUT_MS);

	config->name = venv__json_str(json, "name");
	config->cmdline = venv__json_str(json, "cmdline");
	config->boot_order = venv__json_str(json, "boot_order");
	config->kernel_name = venv__json_str(json, "kernel_name");
	config->initrd_name = venv__json_str(json, "initrd_name");
	config->firmware_name = venv__json_str(json, "firmware_name");
	config->debug_exit = venv__json_bool(json, "debug_exit", false);
	config->has_ids = venv__idmap_from_json(json_object_get(json, "ids"), &config->ids);
	config->paused = venv__json_bool(json, "paused", false);
	if (!config->name)
		return venv__fail(err, VENV_ERR_INVALID, "the machine has no name");
	if (!config->cmdline)
		config->cmdline = "";
	if (memory <= 0 || (uint64_t)memory % MEM_ALIGN || (uint64_t)memory > MEM_SIZE_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "no size of a memory: %lld bytes",
				  (long long)memory);
	if (cpus < 1 || cpus > LAYOUT_CPUS_MAX)
		return venv__fail(err, VENV_ERR_INVALID,
				  "a machine has 1 to %d processors, not %lld", LAYOUT_CPUS_MAX,
				  (long long)cpus);
	if (sockets < 1 || sockets > cpus || cpus % sockets)
		return venv__fail(err, VENV_ERR_INVALID,
				  "%lld processors cannot be in %lld sockets", (long long)cpus,
				  (long long)sockets);
	if (timeout < 0 || timeout > UINT32_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "no time to stop: %lld ms",
				  (long long)timeout);
	config->memory = (uint64_t)memory;
	config->cpus = (struct cpus){ (unsigned)cpus, (unsigned)sockets };
	config->stop_timeout_ms = (unsigned)timeout;
	return parse_fds(config, err);
}

static int receive(int socket, const char *what, struct config *config, json_t **ret,
		   venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	int r = venv__msg_receive(socket, RECEIVE_MS, ret, &fds, err);
	const char *op;

	if (r < 0)
		return r;
	op = r ? venv__json_str(*ret, "op") : NULL;
	if (!op || strcmp(op, what) != 0)
		return venv__fail(err, VENV_ERR_INVALID, "the starter did not send '%s'", what);
	if (fds.count > KVM_FDS_MAX - config->n_fds)
		return venv__fail(err, VENV_ERR_INVALID, "too many descriptors");
	for (size_t i = 0; i < fds.count; i++)
		config->fd[config->n_fds++] = venv__msg_fds_take(&fds, i);
	return 0;
}

static int receive_more(int socket, struct config *config, size_t wanted, venv_error **err)
{
	while (config->n_fds < wanted) {
		_cleanup_json_ json_t *message = NULL;
		size_t before = config->n_fds;
		int r = receive(socket, "fds", config, &message, err);

		if (r < 0)
			return r;
		if (config->n_fds == before)
			return venv__fail(err, VENV_ERR_INVALID, "a descriptor is missing");
	}
	return 0;
}

int config_receive(int socket, struct config *config, venv_error **err)
{
	_cleanup_json_ json_t *message = NULL;
	int64_t wanted, spawned;
	int r;

	*config = (struct config){
		.kernel = -1, .proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)
	};
	r = receive(socket, "start", config, &message, err);
	if (r < 0)
		return r;
	wanted = venv__json_int(message, "fds", 0);
	spawned = venv__json_int(message, "spawned_us", 0);
	config->json = json_incref(json_object_get(message, "machine"));
	config->spawned_us = spawned > 0 ? (uint64_t)spawned : 0;
	if (wanted < 1 || wanted > KVM_FDS_MAX)
		return venv__fail(err, VENV_ERR_INVALID, "a machine has 1 to %d descriptors",
				  KVM_FDS_MAX);
	r = receive_more(socket, config, (size_t)wanted, err);
	return r < 0 ? r : config_parse(config, err);
}

void config_done(struct config *config)
{
	for (size_t i = 0; i < config->n_fds; i++)
		if (config->fd[i] >= 0)
			(void)close(config->fd[i]);
	config->n_fds = 0;
	if (config->proc_fd >= 0)
		(void)close(take_fd(&config->proc_fd));
	json_decref(take_ptr(config->json));
}
