/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: venv.yml, venv.local.yml and each --set become trees. The local file is
 * laid over the file. A machine is made of four layers, each laid over the one before: the machine
 * keys at the top of the files, those below machines.NAME, the machine keys given by --set, those
 * given by --set machines.NAME. Only what remains is interpolated and read by the table, so that
 * an override also mends what could not be read. Then come the checks that need all machines.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "keys.h"

enum { SET_MAX_DEPTH = 8, OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };

static const char single_name[] = "default";

struct load {
	struct reader reader;
	struct project_spec *spec;
	struct node *root; /* of the files */
	struct node *set;  /* of all --set, or NULL */
};

/* ---- Layers ---------------------------------------------------------------------------------- */

/*
 * `networks` and `volumes` name things of the project in a map, and things of a machine in a list.
 */
static bool is_machine_key(const struct entry *entry)
{
	if (!venv__section_key(&venv__section_project, entry->key))
		return true;
	return venv__section_key(&venv__section_machine, entry->key) &&
	       entry->value->kind == NODE_LIST;
}

/*
 * What a tree took from the environment, once for each machine (NULL: the project) and name. What --set
 * names was written by who runs the command.
 */
static int note_variables(struct load *load, const char *machine, const struct node *node,
			  venv_error **err)
{
	int r = 0;

	for (const struct variable *v = node->variables; v && r == 0; v = v->next)
		if (v->place.line)
			r = venv__spec_note_variable(load->spec, machine, v, err);
	for (size_t i = 0; node->kind != NODE_SCALAR && i < node->n && r == 0; i++)
		r = note_variables(
			load, machine,
			node->kind == NODE_LIST ? node->items[i] : node->entries[i].value, err);
	return r;
}

/* A key of the project by all layers, or NULL. */
static int project_value(struct load *load, const char *key, struct node **ret, venv_error **err)
{
	const struct entry *low = venv__node_find(load->root, key);
	const struct entry *high = venv__node_find(load->set, key);
	int r;

	*ret = NULL;
	if (low && is_machine_key(low))
		low = NULL;
	if (high && is_machine_key(high))
		high = NULL;
	if (!low && !high)
		return 0;
	*ret = venv__node_merge(&load->reader.pool, low ? low->value : NULL,
				high ? high->value : NULL);
	if (!*ret)
		return venv__fail_nomem(err);
	r = venv__node_interpolate(&load->reader.pool, *ret, err);
	return r < 0 ? r : note_variables(load, NULL, *ret, err);
}

/* The machine keys at the top of a tree; NULL: out of memory. */
static struct node *machine_keys(struct load *load, const struct node *top)
{
	static const struct place nowhere;
	struct node *map;

	map = venv__node_new(&load->reader.pool, NODE_MAP, top ? &top->place : &nowhere);
	for (size_t i = 0; map && top && i < top->n; i++)
		if (is_machine_key(&top->entries[i]) &&
		    venv__node_add(&load->reader.pool, map, &top->entries[i]) < 0)
			return NULL;
	return map;
}

/* "web:" with nothing behind it is a machine without keys of its own. */
static int as_map(struct load *load, const struct entry *entry, const char *what, struct node **ret,
		  venv_error **err)
{
	*ret = entry->value;
	if (entry->value->kind == NODE_MAP)
		return 0;
	if (!venv__node_is_empty(entry->value))
		return venv__hint(venv__bad(err, entry->value, "%s '%s' is a map, not %s", what,
					    entry->key, venv__node_kind_name(entry->value)),
				  err, "write '%s: {}' or keys below it", entry->key);
	*ret = venv__node_new(&load->reader.pool, NODE_MAP, &entry->place);
	return *ret ? 0 : venv__fail_nomem(err);
}

/* ---- --set ----------------------------------------------------------------------------------- */

static int fail_set(const char *set, const char *problem, venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_CONFIG, "--set '%s' %s", set, problem);

	return venv__hint(r, err, "write --set memory=2G or --set machines.web.memory=2G");
}

/* Wrap a value in maps: a.b.c=value is { a: { b: { c: value } } }. */
static int wrap_value(struct load *load, const char *set, char *path, struct node **node,
		      venv_error **err)
{
	struct pool *pool = &load->reader.pool;
	const struct place place = (*node)->place;
	char *dot = path;
	int depth = 0;

	while (dot) {
		struct entry entry = { .place = place, .value = *node };

		if (++depth > SET_MAX_DEPTH)
			return fail_set(set, "has too many dots", err);
		dot = strrchr(path, '.');
		entry.key = dot ? dot + 1 : path;
		if (!*entry.key)
			return fail_set(set, "has an empty key", err);
		*node = venv__node_new(pool, NODE_MAP, &place);
		if (!*node || venv__node_add(pool, *node, &entry) < 0)
			return venv__fail_nomem(err);
		if (dot)
			*dot = '\0';
	}
	return 0;
}

static int add_set(struct load *load, const char *set, venv_error **err)
{
	struct pool *pool = &load->reader.pool;
	const char *equals = strchr(set, '=');
	struct node *node;
	char *path;
	int r;

	if (!equals || equals == set)
		return fail_set(set, equals ? "has no key" : "has no value", err);
	if (venv__strv_addf(&load->spec->files, "--set %s", set) < 0)
		return venv__fail_nomem(err);
	path = venv__pool_text(pool, set, (size_t)(equals - set));
	if (!path)
		return venv__fail_nomem(err);
	r = venv__yaml_parse_value(pool, load->spec->files[venv__strv_count(load->spec->files) - 1],
				   equals + 1, &node, err);
	if (r == 0)
		r = wrap_value(load, set, path, &node, err);
	if (r < 0)
		return r;
	load->set = venv__node_merge(pool, load->set, node);
	return load->set ? 0 : venv__fail_nomem(err);
}

/* ---- The project's own keys ------------------------------------------------------------------ */

static int check_name(const char *what, const struct entry *entry, venv_error **err)
{
	int r;

	if (venv__name_is_valid(entry->key))
		return 0;
	r = venv__fail_spec(err, VENV_ERR_CONFIG, &entry->place, "invalid %s name '%s'", what,
			    entry->key);
	return venv__hint(r, err, "use small letters, digits and '-' within, at most 63");
}

/* The directory's name, as far as a name may hold it: "My Shop" is my-shop. */
static char *name_of_directory(const char *dir)
{
	const char *base = strrchr(dir, '/');
	char name[64];
	size_t n = 0;

	for (base = base ? base + 1 : dir; *base && n < sizeof(name) - 1; base++) {
		char c = *base >= 'A' && *base <= 'Z' ? (char)(*base - 'A' + 'a') : *base;

		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			name[n++] = c;
		else if (n && name[n - 1] != '-')
			name[n++] = '-';
	}
	while (n && name[n - 1] == '-')
		n--;
	return n ? strndup(name, n) : strdup("project");
}

static int read_name(struct load *load, venv_error **err)
{
	const struct key *key = venv__section_key(&venv__section_project, "name");
	struct node *node;
	int r = project_value(load, "name", &node, err);

	if (r < 0)
		return r;
	if (node)
		return venv__section_parse_value(&load->reader, &venv__section_project, key, node,
						 load->spec, err);
	load->spec->name = name_of_directory(load->spec->dir);
	return load->spec->name ? 0 : venv__fail_nomem(err);
}

/* A map of the project by names; *ret is NULL when it is not given. */
static int project_map(struct load *load, const char *key, struct node **ret, venv_error **err)
{
	int r = project_value(load, key, ret, err);

	if (r < 0 || !*ret || (*ret)->kind == NODE_MAP)
		return r;
	r = venv__bad(err, *ret, "'%s' wants a map, not %s", key,
		      venv__node_is_empty(*ret) ? "nothing" : venv__node_kind_name(*ret));
	return venv__hint(r, err, "write a name and ':' for each, as in %s",
			  strcmp(key, "volumes") == 0    ? "volumes: { data: {} }"
			  : strcmp(key, "networks") == 0 ? "networks: { backend: {} }"
							 : "machines: { web: { box: debian/12 } }");
}

static int read_networks(struct load *load, venv_error **err)
{
	struct project_spec *spec = load->spec;
	struct node *map, *value;
	int r = project_map(load, "networks", &map, err);

	if (r < 0 || !map || !map->n)
		return r;
	spec->networks = calloc(map->n, sizeof(*spec->networks));
	if (!spec->networks)
		return venv__fail_nomem(err);
	spec->n_networks = map->n;
	for (size_t i = 0; i < map->n && r == 0; i++) {
		struct network_spec *network = &spec->networks[i];

		r = check_name("network", &map->entries[i], err);
		if (r == 0)
			r = as_map(load, &map->entries[i], "network", &value, err);
		if (r == 0)
			r = venv__section_parse(&load->reader, &venv__section_network, value,
						network, err);
		if (r < 0)
			return r;
		network->place = map->entries[i].place;
		network->name = strdup(map->entries[i].key);
		if (!network->name)
			return venv__fail_nomem(err);
	}
	return r;
}

static int read_volumes(struct load *load, venv_error **err)
{
	struct node *map, *value;
	int r = project_map(load, "volumes", &map, err);

	if (r < 0 || !map)
		return r;
	load->spec->volumes = calloc(1, sizeof(char *));
	if (!load->spec->volumes)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < map->n && r == 0; i++) {
		r = check_name("volume", &map->entries[i], err);
		if (r == 0)
			r = as_map(load, &map->entries[i], "volume", &value, err);
		if (r == 0 && value->n)
			r = venv__hint(
				venv__fail_spec(err, VENV_ERR_CONFIG, &value->entries[0].place,
						"unknown key '%s'", value->entries[0].key),
				err, "a volume has no keys: write '%s: {}'", map->entries[i].key);
		if (r == 0 && venv__strv_add(&load->spec->volumes, map->entries[i].key) < 0)
			r = venv__fail_nomem(err);
	}
	return r;
}

/* Where the file has no list of volumes, those that machines name are it. */
static int complete_volumes(struct project_spec *spec, venv_error **err)
{
	if (spec->volumes)
		return 0;
	spec->volumes = calloc(1, sizeof(char *));
	if (!spec->volumes)
		return venv__fail_nomem(err);
	for (size_t i = 0; i < spec->n_machines; i++)
		for (size_t j = 0; j < spec->machines[i].n_volumes; j++) {
			const char *name = spec->machines[i].volumes[j].name;

			if (!venv__strv_has(spec->volumes, name) &&
			    venv__strv_add(&spec->volumes, name) < 0)
				return venv__fail_nomem(err);
		}
	return 0;
}

/* ---- Machines -------------------------------------------------------------------------------- */

/* The machine that has an entry in machines, or the single one (entry NULL). */
static int read_machine(struct load *load, const struct entry *entry, struct machine_spec *machine,
			venv_error **err)
{
	struct pool *pool = &load->reader.pool;
	const char *name = entry ? entry->key : single_name;
	const struct entry *set = venv__node_find(venv__node_get(load->set, "machines"), name);
	struct node *layers[4] = { machine_keys(load, load->root), NULL,
				   machine_keys(load, load->set), NULL };
	struct node *node = layers[0];
	int r = entry ? as_map(load, entry, "machine", &layers[1], err) : 0;

	if (r == 0 && set)
		r = as_map(load, set, "machine", &layers[3], err);
	if (r < 0)
		return r;
	for (size_t i = 1; i < ARRAY_SIZE(layers) && node && layers[0] && layers[2]; i++)
		if (layers[i])
			node = venv__node_merge(pool, node, layers[i]);
	machine->name = strdup(name);
	if (!node || !layers[0] || !layers[2] || !machine->name)
		return venv__fail_nomem(err);
	r = venv__node_interpolate(pool, node, err);
	if (r == 0)
		r = note_variables(load, name, node, err);
	if (r == 0)
		r = venv__section_parse(&load->reader, &venv__section_machine, node, machine, err);
	machine->place = entry ? entry->place : load->root->place;
	if (r < 0 || machine->box)
		return r;
	if (entry)
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &machine->place,
				    "machine '%s' has no box", name);
	else
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &machine->place, "there is no 'box'");
	return venv__hint(r, err, "add 'box: debian/12'%s",
			  entry ? " to it, or at the top of the file for all machines" : "");
}

static int fail_machines(const struct node *node, venv_error **err)
{
	bool empty = node->kind == NODE_MAP;
	int r = venv__bad(err, node,
			  empty ? "'machines' is empty" : "'machines' wants a map by names");

	return venv__hint(r, err,
			  "write a name and its keys, as in machines: { web: { box: debian/12 } }");
}

static int check_set_machines(const struct load *load, const struct node *machines,
			      venv_error **err)
{
	const struct node *set = venv__node_get(load->set, "machines");

	if (set && set->kind != NODE_MAP)
		return fail_machines(set, err);
	for (size_t i = 0; set && i < set->n; i++) {
		const struct entry *entry = &set->entries[i];
		struct suggestion suggestion = { .wanted = entry->key };
		int r;

		if (machines ? venv__node_find(machines, entry->key) != NULL
			     : strcmp(entry->key, single_name) == 0)
			continue;
		r = venv__fail_spec(err, VENV_ERR_CONFIG, &entry->place, "there is no machine '%s'",
				    entry->key);
		for (size_t j = 0; machines && j < machines->n; j++)
			venv__suggest(&suggestion, machines->entries[j].key);
		if (suggestion.best)
			return venv__hint(r, err, "did you mean '%s'?", suggestion.best);
		return venv__hint(r, err, "name one of the file's machines");
	}
	return 0;
}

/*
 * Defaults are read for themselves as well, so that nothing wrong hides behind what overrides it.
 */
static int check_defaults(struct load *load, const struct node *top, size_t n_machines,
			  venv_error **err)
{
	struct machine_spec scratch = { 0 };
	const struct entry *ports;
	struct node *map = machine_keys(load, top);
	int r;

	if (!map)
		return venv__fail_nomem(err);
	ports = venv__node_find(map, "ports");
	if (n_machines > 1 && ports && ports->value->n)
		return venv__hint(
			venv__fail_spec(err, VENV_ERR_CONFIG, &ports->place,
					"'ports' cannot be a default for %zu machines: a port of "
					"the host leads to one of them",
					n_machines),
			err, "move it into the machine that it is for");
	r = venv__node_interpolate(&load->reader.pool, map, err);
	if (r == 0)
		r = venv__section_parse(&load->reader, &venv__section_machine, map, &scratch, err);
	venv__section_done(&venv__section_machine, &scratch);
	return r;
}

static int read_machines(struct load *load, venv_error **err)
{
	struct project_spec *spec = load->spec;
	const struct entry *entry = venv__node_find(load->root, "machines");
	const struct node *machines = entry ? entry->value : NULL;
	size_t n = machines ? machines->n : 1;
	int r = 0;

	if (machines && (machines->kind != NODE_MAP || !n))
		return fail_machines(machines, err);
	r = check_set_machines(load, machines, err);
	if (r == 0 && machines)
		r = check_defaults(load, load->root, n, err);
	if (r == 0 && machines && load->set)
		r = check_defaults(load, load->set, n, err);
	if (r < 0)
		return r;
	spec->machines = calloc(n, sizeof(*spec->machines));
	if (!spec->machines)
		return venv__fail_nomem(err);
	spec->n_machines = n;
	for (size_t i = 0; i < n && r == 0; i++) {
		if (machines)
			r = check_name("machine", &machines->entries[i], err);
		if (r == 0)
			r = read_machine(load, machines ? &machines->entries[i] : NULL,
					 &spec->machines[i], err);
		if (r < 0 && machines)
			return venv__error_set_machine(r, err, machines->entries[i].key);
	}
	return r;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int check_top(const struct node *top, venv_error **err)
{
	if (top->kind != NODE_MAP)
		return venv__hint(venv__bad(err, top, "the file holds %s, not keys",
					    venv__node_kind_name(top)),
				  err, "write 'key: value' lines, as in 'box: debian/12'");
	return venv__section_check_keys(&venv__section_project, &venv__section_machine, top, err);
}

static int read_tree(struct load *load, venv_error **err)
{
	int r = read_name(load, err);

	if (r == 0)
		r = read_networks(load, err);
	if (r == 0)
		r = read_volumes(load, err);
	if (r == 0)
		r = read_machines(load, err);
	if (r == 0)
		r = venv__spec_check(load->spec, err);
	if (r == 0)
		r = complete_volumes(load->spec, err);
	return r < 0 ? r : venv__spec_collect_approvals(load->spec, err);
}

/* Lay one more file over those before. */
static int add_file(struct load *load, const char *file, const char *text, size_t length,
		    venv_error **err)
{
	struct pool *pool = &load->reader.pool;
	struct node *tree = NULL;
	int r;

	if (venv__strv_add(&load->spec->files, file) < 0)
		return venv__fail_nomem(err);
	file = load->spec->files[venv__strv_count(load->spec->files) - 1];
	r = venv__yaml_parse(pool, file, text, length, &tree, err);
	if (r == 0 && tree)
		r = check_top(tree, err);
	if (r < 0 || !tree)
		return r;
	load->root = venv__node_merge(pool, load->root, tree);
	return load->root ? 0 : venv__fail_nomem(err);
}

static int finish(struct load *load, const char *const *set, venv_error **err)
{
	char *const *files = load->spec->files;
	struct place place = { .file = files ? files[0] : NULL, .line = 1, .column = 1 };
	int r = 0;

	if (!load->root)
		return venv__hint(
			venv__fail_spec(err, VENV_ERR_CONFIG, &place, "the file says nothing"), err,
			"write 'box: debian/12' into it");
	if (!venv__text_is_clean(load->spec->dir))
		return venv__hint(
			venv__fail(err, VENV_ERR_CONFIG,
				   "the project's directory has a name that is not UTF-8 text"),
			err, "rename the directory");
	load->reader.dir = load->spec->dir;
	for (; set && *set && r == 0; set++)
		r = add_set(load, *set, err);
	if (r == 0 && load->set)
		r = check_top(load->set, err);
	return r < 0 ? r : read_tree(load, err);
}

static int load_begin(struct load *load, const char *file, const char *dir, venv_error **err)
{
	const char *base = strrchr(file, '/');

	*load = (struct load){ .spec = calloc(1, sizeof(*load->spec)) };
	if (!load->spec)
		return venv__fail_nomem(err);
	load->spec->dir = venv__path_clean(dir);
	if (!load->spec->dir)
		return venv__fail_nomem(err);
	load->spec->file = venv__path_join(load->spec->dir, base ? base + 1 : file);
	return load->spec->file ? 0 : venv__fail_nomem(err);
}

static int load_end(struct load *load, int r, struct project_spec **ret)
{
	venv__pool_done(&load->reader.pool);
	if (r < 0)
		venv__spec_free(load->spec);
	else
		*ret = load->spec;
	return r;
}

int venv__spec_parse(const char *file, const char *dir, const char *text, size_t length,
		     const char *const *set, struct project_spec **ret, venv_error **err)
{
	struct load load;
	int r = load_begin(&load, file, dir, err);

	if (r == 0)
		r = add_file(&load, file, text, length, err);
	if (r == 0)
		r = finish(&load, set, err);
	return load_end(&load, r, ret);
}

/* The directory of a file as it was given ("." for a bare name). */
static char *directory_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	if (!slash)
		return strdup(".");
	return slash == file ? strdup("/") : strndup(file, (size_t)(slash - file));
}

/*
 * A link is followed when its owner is the caller, root, or the owner of the file that it leads to:
 * whoever can put a link into a directory must not make others read, and quote in an error, what only
 * they may. fd or a negative code.
 */
static int open_link(const char *path, venv_error **err)
{
	_cleanup_free_ char *dir = directory_of(path);
	const char *slash = strrchr(path, '/');
	_cleanup_close_ int dir_fd = -1, link = -1, fd = -1;
	struct stat from, to;
	char target[PATH_MAX];
	ssize_t n;

	if (!dir)
		return venv__fail_nomem(err);
	dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	link = dir_fd < 0
		       ? -1
		       : openat(dir_fd, slash ? slash + 1 : path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	/* this link, not what may take its place meanwhile */
	n = link < 0 || fstat(link, &from) < 0 ? -1
					       : readlinkat(link, "", target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		fd = openat(dir_fd, target, OPEN_FLAGS);
	}
	if (fd < 0 || fstat(fd, &to) < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", path);
	if (from.st_uid == geteuid() || from.st_uid == 0 || from.st_uid == to.st_uid)
		return take_fd(&fd);
	return venv__hint(venv__fail(err, VENV_ERR_DENIED,
				     "'%s' is another user's link to a file that is not theirs",
				     path),
			  err, "put the file itself there, or name it: venv -f FILE");
}

int venv__spec_open(const char *path, venv_error **err)
{
	_cleanup_close_ int fd = open(path, OPEN_FLAGS | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 && errno == ELOOP)
		fd = open_link(path, err);
	else if (fd < 0)
		fd = venv__fail_errno(err, errno, "cannot open '%s'", path);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return venv__fail_errno(err, errno, "cannot look at '%s'", path);
	if (S_ISREG(st.st_mode))
		return take_fd(&fd);
	return venv__hint(venv__fail(err, VENV_ERR_CONFIG, "'%s' is %s", path,
				     S_ISDIR(st.st_mode) ? "a directory" : "not a regular file"),
			  err, "put a text file there");
}

/* must: it is an error when the file is not there. */
static int read_file(struct load *load, const char *path, bool must, venv_error **err)
{
	_cleanup_error_ venv_error *cause = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = venv__spec_open(path, &cause);
	size_t length = 0;
	int r;

	if (fd == VENV_ERR_NOT_FOUND && !must)
		return 0;
	r = fd < 0 ? fd : venv__fd_read(fd, path, YAML_MAX_SIZE, &text, &length, &cause);
	if (r < 0)
		return venv__error_take(take_ptr(cause), err);
	return add_file(load, path, text, length, err);
}

int venv__spec_load(const char *file, const char *const *set, struct project_spec **ret,
		    venv_error **err)
{
	_cleanup_free_ char *given = directory_of(file);
	_cleanup_free_ char *dir = given ? realpath(given, NULL) : NULL;
	_cleanup_free_ char *local = NULL;
	struct load load;
	int r;

	if (!given)
		return venv__fail_nomem(err);
	if (!dir)
		return venv__fail_errno(err, errno, "cannot find '%s'", given);
	local = strchr(file, '/') ? venv__path_join(given, "venv.local.yml")
				  : strdup("venv.local.yml");
	if (!local)
		return venv__fail_nomem(err);
	r = load_begin(&load, file, dir, err);
	if (r == 0)
		r = read_file(&load, file, true, err);
	if (r == 0)
		r = read_file(&load, local, false, err);
	if (r == 0)
		r = finish(&load, set, err);
	return load_end(&load, r, ret);
}
