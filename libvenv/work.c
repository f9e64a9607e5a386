/* SPDX-License-Identifier: Apache-2.0 */
/* Preparing one machine for its provider: record, image, network, login. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lifecycle.h"
#include "net/net.h"
#include "util/sys.h"

void venv__work_init(struct work *work, struct venv_project *project,
		     const struct machine_spec *spec, struct venv_op *op)
{
	*work = (struct work){
		.project = project,
		.op = op,
		.spec = spec,
		.record = RECORD_INIT,
		.net = { .socket = -1, .userns_fd = -1, .netns_fd = -1 },
		.machine = { .ctx = project->ctx, .dir_fd = -1, .project_fd = -1, .spec = spec },
		.lock_fd = -1,
	};
}

void venv__work_done(struct work *work)
{
	venv__folders_done(&work->machine);
	venv__strv_free(work->machine.hosts);
	venv__net_attachment_done(&work->net);
	venv__box_done(&work->box);
	venv__machine_done(&work->record);
	free(work->login);
	free(work->disks[0]);
	free(work->kernel);
	if (work->lock_fd >= 0)
		(void)close(work->lock_fd);
	work->lock_fd = -1;
}

int venv__work_sweep(struct work *work, venv_error **err)
{
	struct venv_project *project = work->project;
	int lock_fd, r;

	if (!work->record.id)
		return venv__machine_sweep(project, work->spec->name, err);
	/* what it wrote is gone, what its snapshots hold is not */
	if (faccessat(work->record.dir_fd, "snapshots", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		r = venv__fail(err, VENV_ERR_CORRUPT, "machine '%s' has snapshots, but no disk",
			       work->spec->name);
		return venv__hint(r, err, "'venv destroy %s' gives them up", work->spec->name);
	}
	r = venv__machine_remove(project, work->spec->name, &work->record, err);
	lock_fd = take_fd(&work->lock_fd);
	venv__work_done(work);
	venv__work_init(work, project, work->spec, work->op);
	work->lock_fd = lock_fd;
	return r;
}

char *venv__login_name(const struct machine_spec *spec, const char *image_user)
{
	size_t n;

	if (spec->user)
		return strdup(spec->user);
	n = image_user ? strcspn(image_user, ":") : 0;
	return n ? strndup(image_user, n) : strdup("root");
}

/* What it said of its login user, if that is still the same. */
static void fill_login(struct work *work)
{
	const json_t *known = json_object_get(work->record.state, "login");
	const char *name = venv__json_str(known, "name");
	int64_t uid = venv__json_int(known, "uid", -1), gid = venv__json_int(known, "gid", -1);

	work->machine.login_known = name && strcmp(name, work->login) == 0 && uid >= 0 &&
				    uid < UINT32_MAX && gid >= 0 && gid < UINT32_MAX;
	work->machine.login_uid = (uint32_t)uid;
	work->machine.login_gid = (uint32_t)gid;
}

static bool is_rootfs(const struct work *work)
{
	const char *kind = venv__json_str(json_object_get(work->record.spec, "box"), "kind");

	if (work->box.digest)
		return work->box.kind == BOX_ROOTFS;
	return !kind || strcmp(kind, "rootfs") == 0;
}

bool venv__work_has_sshd(const struct work *work)
{
	return work->provider->guest_ssh && !is_rootfs(work);
}

static int fill_machine(struct work *work, venv_error **err)
{
	struct machine *machine = &work->machine;
	const json_t *box = json_object_get(work->record.spec, "box");

	machine->id = work->record.id;
	machine->name = work->spec->name;
	machine->project = work->project->spec->name;
	machine->project_dir = work->project->spec->dir;
	machine->project_fd = work->project->dir_fd;
	machine->dir_fd = work->record.dir_fd;
	machine->dir = work->record.dir;
	machine->from_rootfs = is_rootfs(work);
	if (!work->login)
		work->login = venv__login_name(work->spec, venv__json_str(box, "user"));
	if (!work->login)
		return venv__fail_nomem(err);
	machine->login = work->login;
	fill_login(work);
	return 0;
}

int venv__work_map(struct work *work, venv_error **err)
{
	return venv__context_map(work->project->ctx, &work->machine.map, err);
}

int venv__work_open(struct work *work, venv_error **err)
{
	const char *name;
	int r = venv__machine_find(work->project, work->spec->name, &work->record, err);

	if (r < 0 || !work->record.id)
		return r;
	name = venv__json_str(work->record.spec, "provider");
	work->provider = name ? venv__provider_find(name) : NULL;
	if (!work->provider)
		return venv__fail(err, VENV_ERR_UNSUPPORTED,
				  "machine '%s' was made by provider '%s', which this venv lacks",
				  work->spec->name, name ? name : "?");
	return fill_machine(work, err);
}

int venv__work_open_record(struct work *work, venv_error **err)
{
	const json_t *record = work->record.spec, *owner = json_object_get(record, "project");
	const char *provider = venv__json_str(record, "provider");
	/* the handles are the caller's own, made for this; the record outlives them */
	struct machine_spec *spec = (struct machine_spec *)(uintptr_t)work->spec;

	spec->name = (char *)(uintptr_t)venv__json_str(record, "name");
	work->project->uuid = (char *)(uintptr_t)venv__json_str(owner, "uuid");
	work->project->spec->name = (char *)(uintptr_t)venv__json_str(owner, "name");
	work->provider = provider ? venv__provider_find(provider) : NULL;
	if (!spec->name || !work->project->uuid || !work->provider)
		return venv__hint(venv__fail(err, VENV_ERR_CORRUPT, "its record is damaged"), err,
				  "run 'venv repair'");
	return fill_machine(work, err);
}

static int absent(const struct work *work, venv_error **err)
{
	const char *name = work->spec->name;
	int r = venv__fail(err, VENV_ERR_STATE, "machine '%s' does not exist yet", name);

	(void)venv__error_set_machine(r, err, name);
	return venv__hint(r, err, "make it with 'venv up %s'", name);
}

int venv__work_not_running(const struct work *work, enum machine_state state, venv_error **err)
{
	const char *name = work->spec->name;
	int r = venv__fail(err, VENV_ERR_STATE, "machine '%s' is %s", name,
			   venv__machine_state_name(state));

	(void)venv__error_set_machine(r, err, name);
	if (state == MACHINE_PAUSED || state == MACHINE_SUSPENDED)
		return venv__hint(r, err, "let it go on with 'venv resume %s'", name);
	if (state == MACHINE_FROZEN)
		return venv__hint(r, err,
				  "it ran out of memory: raise 'memory' in venv.yml and run "
				  "'venv up %s'",
				  name);
	return venv__hint(r, err, "start it with 'venv up %s'", name);
}

int venv__work_open_named(struct venv_project *project, const char *name, struct venv_op *op,
			  struct work *work, enum machine_state *ret, venv_error **err)
{
	const struct machine_spec *spec;
	int r;

	spec = name ? venv__spec_machine(project->spec, name) : venv__spec_primary(project->spec);
	venv__work_init(work, project, spec ? spec : &project->spec->machines[0], op);
	if (!spec && !name) {
		r = venv__fail(err, VENV_ERR_INVALID,
			       "this project has several machines: name one");
		return venv__hint(r, err, "or mark one with 'primary: true' in venv.yml");
	}
	if (!spec) {
		r = venv__fail(err, VENV_ERR_NOT_FOUND, "venv.yml names no machine '%s'", name);
		return venv__hint(r, err, "see the machines with 'venv status'");
	}
	r = venv__work_open(work, err);
	if (r < 0)
		return venv__error_set_machine(r, err, spec->name);
	if (!work->record.id)
		return absent(work, err);
	r = venv__work_observe(work, ret, err);
	return r < 0 ? venv__error_set_machine(r, err, spec->name) : 0;
}

int venv__work_open_running(struct venv_project *project, const char *name, struct venv_op *op,
			    struct work *work, venv_error **err)
{
	enum machine_state state = MACHINE_ABSENT;
	int r = venv__work_open_named(project, name, op, work, &state, err);

	if (r < 0 || state == MACHINE_RUNNING)
		return r;
	return venv__work_not_running(work, state, err);
}

/*
 * Nobody runs it, but the record says that it was on its way or there: somebody is at it now, or it ended
 * by itself. After a boot of the host it simply stopped.
 */
static enum machine_state unexplained(const struct work *work, const char *state)
{
	_cleanup_free_ char *holder = NULL;
	const char *boot = venv__json_str(work->record.state, "boot_id");
	char now[37];

	if (!boot || venv__boot_id(now) < 0 || strcmp(boot, now) != 0)
		return MACHINE_STOPPED;
	if (work->lock_fd < 0 && work->project->uuid)
		holder = venv__operation_holder(work->project, work->spec->name);
	if (!holder)
		return MACHINE_CRASHED;
	return strcmp(state, "stopping") == 0 ? MACHINE_STOPPING : MACHINE_STARTING;
}

int venv__work_observe(struct work *work, enum machine_state *ret, venv_error **err)
{
	const char *state;
	int r;

	*ret = MACHINE_ABSENT;
	if (!work->record.id)
		return 0;
	r = work->provider->observe(&work->machine, ret, err);
	if (r < 0 || *ret != MACHINE_STOPPED)
		return r;
	state = venv__json_str(work->record.state, "state");
	/* one that ran ended in order, by itself or with its user's last session: else the provider
	 * would not say stopped */
	if (state && strcmp(state, "stopped") != 0 && strcmp(state, "running") != 0)
		*ret = unexplained(work, state);
	return 0;
}

/* ---- What it was started with -------------------------------------------------------------- */

static bool is_among(const char *const *keys, const char *key)
{
	for (; keys && *keys; keys++)
		if (strcmp(*keys, key) == 0)
			return true;
	return false;
}

static void move_path(json_t *text, const char *from, const char *to)
{
	const char *path = json_string_value(text), *rest = NULL;
	_cleanup_free_ char *moved = NULL;

	if (!path || *path != '/' || !venv__path_below(path, from, &rest))
		return;
	moved = rest && *rest ? venv__path_join(to, rest) : strdup(to);
	if (moved)
		(void)json_string_set(text, moved);
}

/* Recursion is bounded by what a machine's section can hold. */
static void move_paths(json_t *value, const char *from, const char *to)
{
	static const char *const path_keys[] = {
		"box", "host", "script", "copy", "env_file", NULL
	};
	json_t *child;
	const char *key;
	size_t i;

	json_array_foreach(value, i, child) move_paths(child, from, to);
	json_object_foreach(value, key, child)
	{
		json_t *path;

		if (is_among(path_keys, key))
			move_path(child, from, to);
		else if (strcmp(key, "extra_keys") == 0)
			json_array_foreach(child, i, path) move_path(path, from, to);
		else
			move_paths(child, from, to);
	}
}

/* A limit changes while the machine runs only where the provider can do that. */
static json_t *limits_later(const struct work *work, json_t *changes)
{
	static const char *const limits[] = { LIMIT_KEYS, NULL };
	const char *const *live = work->provider ? work->provider->live_limits : NULL;
	json_t *change;
	size_t i;

	json_array_foreach(changes, i, change)
	{
		const char *key = venv__json_str(change, "key");

		if (key && is_among(limits, key) && !is_among(live, key))
			(void)json_object_set_new(change, "live", json_false());
	}
	return changes;
}

json_t *venv__work_diff(struct work *work, const json_t *now)
{
	json_t *recorded = json_object_get(work->record.spec, "spec");
	json_t *project = json_object_get(work->record.spec, "project");
	const char *from = venv__json_str(project, "path"), *to = work->project->spec->dir;

	if (from && strcmp(from, to) != 0) {
		move_paths(recorded, from, to);
		(void)venv__json_set_str(project, "path", to);
	}
	return limits_later(work, venv__spec_diff(recorded, now));
}

/* ---- Image --------------------------------------------------------------------------------- */

static void use_box(struct work *work)
{
	work->machine.image = (struct machine_image){
		.layers = work->box.layers,
		.disks = work->box.disks,
		.format = work->box.format,
		.virtual_size = work->box.virtual_size,
		.insecure_key = work->box.insecure_key,
		.env = work->box.env,
		.entrypoint = work->box.entrypoint,
		.cmd = work->box.cmd,
		.user = work->box.user,
		.workdir = work->box.workdir,
		.stop_signal = work->box.stop_signal,
	};
}

static bool names_kernel(const struct machine_spec *spec)
{
	const char *kernel = spec->kvm.kernel;

	return kernel && *kernel && strcmp(kernel, "auto") != 0;
}

/* A box of layers as a virtual machine: they become a disk, and a kernel is taken that boots it. */
static int make_disk(struct work *work, venv_error **err)
{
	struct venv *ctx = work->project->ctx;
	int r = 0;

	/* of the least size, always the same one: the machine's own disk lies on it, and is grown */
	if (!work->disks[0])
		r = venv__box_make_disk(ctx, &work->box, 0, work->op, &work->disks[0], err);
	if (r == 0 && !work->kernel && !names_kernel(work->spec))
		r = venv__box_kernel(ctx, work->spec->name, work->op, &work->kernel, err);
	if (r < 0)
		return r;
	work->machine.image.disks = work->disks;
	work->machine.image.format = "raw";
	work->machine.image.kernel = work->kernel;
	return 0;
}

static int prepare_image(struct work *work, venv_error **err)
{
	const json_t *box = json_object_get(work->record.spec, "box");
	const char *digest = venv__json_str(box, "digest");
	int r;

	if (!work->box.digest) {
		r = venv__box_open(work->project->ctx, digest ? digest : "", NULL, "auto",
				   &work->box, err);
		if (r < 0)
			return venv__wrap(r, err, "the box '%s' of this machine",
					  venv__json_str(box, "name"));
	}
	use_box(work);
	return work->provider->disks && work->box.kind == BOX_ROOTFS ? make_disk(work, err) : 0;
}

int venv__work_prepare(struct work *work, venv_error **err)
{
	/* first: whoever takes back what a failed start left reads it */
	int r = work->record.id ? fill_machine(work, err) : 0;

	if (r == 0)
		r = venv__folders_open(work, err);
	if (r == 0)
		r = venv__work_map(work, err);
	if (r == 0 && work->record.id)
		r = prepare_image(work, err);
	return r;
}

/* ---- Network ------------------------------------------------------------------------------- */

static int lend(void *user, int *ret_userns_fd, int *ret_netns_fd)
{
	struct venv_project *project = user;

	for (size_t i = 0; i < project->spec->n_machines; i++) {
		_cleanup_work_ struct work other;

		venv__work_init(&other, project, &project->spec->machines[i], NULL);
		if (venv__work_open(&other, NULL) < 0 || !other.record.id ||
		    !other.provider->lend_network)
			continue;
		if (other.provider->lend_network(&other.machine, ret_userns_fd, ret_netns_fd,
						 NULL) == 0)
			return 0;
	}
	return VENV_ERR_NOT_FOUND;
}

static struct net_project net_project(const struct venv_project *project)
{
	return (struct net_project){ .uuid = project->uuid,
				     .name = project->spec->name,
				     .dir_fd = project->dir_fd,
				     .spec = project->spec };
}

/* Give a running machine to a netd that does not know it, with the ports and networks of its start. */
static int plug(struct work *work, const struct net_project *net, int *socket, venv_error **err)
{
	struct machine_spec *recorded = NULL;
	int r = venv__spec_machine_from_json(json_object_get(work->record.spec, "spec"), &recorded,
					     err);

	if (r < 0)
		return r;
	r = venv__net_attach(socket, net, work->record.id, recorded, venv__work_has_sshd(work),
			     &work->net, err);
	venv__spec_machine_free(recorded);
	if (r < 0)
		return r;
	work->machine.net = &work->net;
	return work->provider->plug(&work->machine, err);
}

static bool is_attached(const struct net_project *net, const char *id)
{
	_cleanup_json_ json_t *answer = NULL;
	const json_t *machine;
	size_t i;

	if (venv__net_query(net, "list", &answer, NULL) < 0)
		return true; /* what it says is not for `up` to judge */
	json_array_foreach(json_object_get(answer, "machines"), i, machine)
	{
		const char *known = venv__json_str(machine, "machine");

		if (known && strcmp(known, id) == 0)
			return true;
	}
	return false;
}

/* A new netd took over the namespaces: let every other running machine plug in again. */
static void plug_others(struct work *work)
{
	struct venv_project *project = work->project;
	struct net_project net = net_project(project);

	for (size_t i = 0; i < project->spec->n_machines; i++) {
		const struct machine_spec *spec = &project->spec->machines[i];
		_cleanup_work_ struct work other;
		enum machine_state state;
		int socket = -1, adopted = 0;

		venv__work_init(&other, project, spec, work->op);
		if (spec == work->spec || !spec->n_networks || venv__work_open(&other, NULL) < 0 ||
		    !other.record.id || venv__work_observe(&other, &state, NULL) < 0 ||
		    state < MACHINE_RUNNING || state > MACHINE_FROZEN || !other.provider->plug)
			continue;
		if (venv__net_connect(project->ctx, &net, NULL, NULL, &socket, &adopted, NULL) < 0)
			continue;
		/* another thread or command may have been quicker */
		if (plug(&other, &net, &socket, NULL) < 0 && !is_attached(&net, other.record.id))
			venv__op_warning(work->op, spec->name,
					 "its network could not be repaired: run 'venv reload %s'",
					 spec->name);
		if (socket >= 0)
			(void)close(socket);
	}
}

int venv__work_rejoin(struct work *work, venv_error **err)
{
	struct net_project net = net_project(work->project);
	int socket = -1, adopted = 0, r;

	if (!json_array_size(
		    json_object_get(json_object_get(work->record.spec, "spec"), "networks")) ||
	    !work->provider->plug || is_attached(&net, work->record.id))
		return 0;
	venv__op_begin(work->op, work->spec->name, "network",
		       "joining the project's network again");
	r = venv__net_connect(work->project->ctx, &net, lend, work->project, &socket, &adopted,
			      err);
	if (r == 0)
		r = plug(work, &net, &socket, err);
	if (socket >= 0)
		(void)close(socket);
	if (adopted)
		plug_others(work);
	if (r < 0 && is_attached(&net, work->record.id)) {
		/* another thread or command was quicker */
		if (err)
			venv_error_free(take_ptr(*err));
		r = 0;
	}
	if (r < 0)
		return venv__wrap(r, err, "its network process was gone and cannot be replaced");
	venv__op_end(work->op, work->spec->name, "network");
	return 0;
}

int venv__work_attach(struct work *work, const char *id, venv_error **err)
{
	struct net_project net = net_project(work->project);
	int socket = -1, adopted = 0, r;

	if (!work->spec->n_networks)
		return 0;
	venv__op_begin(work->op, work->spec->name, "network", "joining the project's network");
	r = venv__net_connect(work->project->ctx, &net, lend, work->project, &socket, &adopted,
			      err);
	if (r < 0)
		return r;
	r = venv__net_attach(&socket, &net, id, work->spec, venv__work_has_sshd(work), &work->net,
			     err);
	if (r < 0) {
		(void)close(socket);
		return r;
	}
	work->machine.net = &work->net;
	if (adopted)
		plug_others(work);
	venv__op_end(work->op, work->spec->name, "network");
	return 0;
}

/* ---- Console ------------------------------------------------------------------------------- */

char *venv__console_tail(const struct record *record, unsigned lines)
{
	_cleanup_close_ int fd = openat(record->dir_fd, "console.log",
					O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char text[8192];
	struct stat st;
	off_t from;
	ssize_t n;
	char *start;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		return NULL;
	from = st.st_size > (off_t)sizeof(text) - 1 ? st.st_size - (off_t)sizeof(text) + 1 : 0;
	n = pread(fd, text, sizeof(text) - 1, from);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	for (start = text + n - 1; start > text; start--)
		if (start[-1] == '\n' && start < text + n - 1 && --lines == 0)
			break;
	return strdup(start);
}
