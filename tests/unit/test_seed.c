/* SPDX-License-Identifier: Apache-2.0 */
/* First-start disks, judged by fsck.fat, mtools, the kernel's vfat and libyaml. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "fat.h"
#include "seed.h"
#include "util/file.h"
#include "util/process.h"

/* ---- YAML ---------------------------------------------------------------------------------- */

static yaml_node_t *member(yaml_document_t *document, yaml_node_t *node, const char *key)
{
	assert_non_null(node);
	if (node->type == YAML_SEQUENCE_NODE) {
		yaml_node_item_t *item = node->data.sequence.items.start + strtoul(key, NULL, 10);

		return item < node->data.sequence.items.top
			       ? yaml_document_get_node(document, *item)
			       : NULL;
	}
	assert_int_equal(node->type, YAML_MAPPING_NODE);
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
	     pair < node->data.mapping.pairs.top; pair++)
		if (strcmp((char *)yaml_document_get_node(document, pair->key)->data.scalar.value,
			   key) == 0)
			return yaml_document_get_node(document, pair->value);
	return NULL;
}

/* The text at a path as "a/0/b"; NULL: there is nothing. Owned by the caller. */
static char *yaml_at(const struct buf *text, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	yaml_document_t document;
	yaml_parser_t parser;
	yaml_node_t *node;
	char *value = NULL, *rest = NULL;

	assert_true(yaml_parser_initialize(&parser));
	yaml_parser_set_input_string(&parser, (const unsigned char *)text->data, text->length);
	if (!yaml_parser_load(&parser, &document))
		fail_msg("%s at line %zu of\n%s", parser.problem, parser.problem_mark.line,
			 text->data);
	node = yaml_document_get_root_node(&document);
	for (char *key = strtok_r(copy, "/", &rest); key && node; key = strtok_r(NULL, "/", &rest))
		node = member(&document, node, key);
	if (node && node->type == YAML_SCALAR_NODE)
		value = strndup((char *)node->data.scalar.value, node->data.scalar.length);
	yaml_document_delete(&document);
	yaml_parser_delete(&parser);
	return value;
}

#define assert_yaml(text, path, expected)                                                          \
	do {                                                                                       \
		_cleanup_free_ char *value_ = yaml_at(text, path);                                 \
		if (!value_)                                                                       \
			fail_msg("nothing at %s of\n%s", path, (text)->data);                      \
		assert_string_equal(value_, expected);                                             \
	} while (0)

static char key_one[] = "ssh-ed25519 AAAAC3Nz web", key_two[] = "ssh-rsa AAAAB3 me@home";
static char *const keys[] = { key_one, key_two, NULL };
static const struct seed_interface interfaces[] = {
	{ "eth0", "52:54:00:12:34:56", "10.88.0.2", 24, "10.88.0.1", 65520 },
	{ "eth1", "52:54:00:12:34:57", NULL, 0, NULL, 0 },
};
static const struct seed_mount mounts[] = { { "venv0", "/workspace", false },
					    { "venv1", "/srv/my data", true } };
static const struct seed typical = {
	.instance = "0123456789abcdef",
	.hostname = "web",
	.user = "debian",
	.keys = keys,
	.host_key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n-----END-----\n",
	.host_public = "ssh-ed25519 AAAAC3NzaC1l web",
	.interfaces = interfaces,
	.n_interfaces = ARRAY_SIZE(interfaces),
	.dns = "10.88.0.1",
	.domain = "shop.venv",
	.mounts = mounts,
	.n_mounts = ARRAY_SIZE(mounts),
};

static void texts_say_what_was_asked_for(void **state)
{
	_cleanup_buf_ struct buf meta = { 0 }, user = { 0 }, network = { 0 };

	(void)state;
	venv__seed_meta_data(&typical, &meta);
	assert_yaml(&meta, "instance-id", typical.instance);
	assert_yaml(&meta, "local-hostname", "web");

	venv__seed_user_data(&typical, &user);
	assert_true(strncmp(user.data, "#cloud-config\n", 14) == 0);
	assert_yaml(&user, "hostname", "web");
	assert_yaml(&user, "user/name", "debian");
	assert_yaml(&user, "user/sudo/0", "ALL=(ALL) NOPASSWD:ALL");
	assert_yaml(&user, "users/0", "default");
	assert_yaml(&user, "ssh_authorized_keys/0", key_one);
	assert_yaml(&user, "ssh_authorized_keys/1", key_two);
	assert_yaml(&user, "ssh_keys/ed25519_private", typical.host_key);
	assert_yaml(&user, "ssh_keys/ed25519_public", typical.host_public);
	assert_yaml(&user, "bootcmd/0/4", "/workspace");
	assert_yaml(&user, "bootcmd/0/5", "rw");
	assert_yaml(&user, "bootcmd/0/6", "venv0");
	assert_yaml(&user, "bootcmd/1/4", "/srv/my data");
	assert_yaml(&user, "bootcmd/1/5", "ro");
	assert_yaml(&user, "growpart/devices/0", "/");

	venv__seed_network(&typical, &network);
	assert_yaml(&network, "version", "2");
	assert_yaml(&network, "ethernets/venv0/match/macaddress", "52:54:00:12:34:56");
	assert_yaml(&network, "ethernets/venv0/set-name", "eth0");
	assert_yaml(&network, "ethernets/venv0/mtu", "65520");
	assert_yaml(&network, "ethernets/venv0/addresses/0", "10.88.0.2/24");
	assert_yaml(&network, "ethernets/venv0/routes/0/via", "10.88.0.1");
	assert_yaml(&network, "ethernets/venv0/nameservers/addresses/0", "10.88.0.1");
	assert_yaml(&network, "ethernets/venv0/nameservers/search/0", "shop.venv");
	assert_yaml(&network, "ethernets/venv1/dhcp4", "true");
	assert_null(yaml_at(&network, "ethernets/venv1/addresses/0"));
}

static void root_logs_in_as_root(void **state)
{
	_cleanup_buf_ struct buf user = { 0 };
	struct seed seed = typical;

	(void)state;
	seed.user = "root";
	venv__seed_user_data(&seed, &user);
	assert_yaml(&user, "disable_root", "false");
	assert_yaml(&user, "ssh_authorized_keys/0", key_one);
	assert_null(yaml_at(&user, "user/name"));
}

static void what_is_not_given_is_not_said(void **state)
{
	_cleanup_buf_ struct buf user = { 0 }, network = { 0 };
	const struct seed seed = { .instance = "i", .hostname = "h", .user = "u" };

	(void)state;
	venv__seed_user_data(&seed, &user);
	venv__seed_network(&seed, &network);
	assert_null(yaml_at(&user, "ssh_keys/ed25519_private"));
	assert_null(yaml_at(&user, "ssh_deletekeys"));
	assert_null(yaml_at(&user, "ssh_authorized_keys/0"));
	assert_null(yaml_at(&user, "bootcmd/0/0"));
	assert_yaml(&network, "version", "2");
}

static const char *const hostile[] = {
	"a\"b",
	"'",
	"a\\",
	"\\n\\x41\\u0041",
	"x\nusers: [{name: evil}]\n",
	"x\r\nbootcmd: [reboot]",
	"#",
	": ",
	"- a",
	"{a: b}",
	"[",
	"*x",
	"&x",
	"!!python/object",
	"%TAG",
	"%s%n%d",
	"---",
	"...",
	"true",
	"~",
	"0x10",
	" leading and trailing ",
	"\t",
	"\x01\x02\x1b[31m\x7f",
	"\xc2\x85\xc2\x80\xc2\xa0",             /* NEL, a control, a hard space */
	"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf", /* line and paragraph separators, BOM */
	"\xef\xbf\xbe\xef\xbf\xbf",             /* no characters */
	"stra\xc3\x9f\x65 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf",
	"$(reboot)`reboot`${x}",
	"",
};

static void hostile_text_stays_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		char *text = (char *)(uintptr_t)hostile[i];
		char *const own_keys[] = { text, NULL };
		const struct seed_interface interface = { text, text, text, 24, text, 1500 };
		const struct seed_mount mount = { text, text, true };
		const struct seed seed = { .instance = text,
					   .hostname = text,
					   .user = text,
					   .keys = own_keys,
					   .host_key = text,
					   .host_public = text,
					   .interfaces = &interface,
					   .n_interfaces = 1,
					   .dns = text,
					   .domain = text,
					   .mounts = &mount,
					   .n_mounts = 1 };
		_cleanup_buf_ struct buf meta = { 0 }, user = { 0 }, network = { 0 };
		_cleanup_free_ char *address = NULL;

		assert_true(asprintf(&address, "%s/24", text) > 0);
		venv__seed_meta_data(&seed, &meta);
		venv__seed_user_data(&seed, &user);
		venv__seed_network(&seed, &network);
		assert_yaml(&meta, "instance-id", text);
		assert_yaml(&meta, "local-hostname", text);
		assert_yaml(&user, "hostname", text);
		assert_yaml(&user, "user/name", text);
		assert_yaml(&user, "users/0", "default");
		assert_yaml(&user, "ssh_authorized_keys/0", text);
		assert_yaml(&user, "ssh_keys/ed25519_private", text);
		assert_yaml(&user, "bootcmd/0/4", text);
		assert_yaml(&user, "bootcmd/0/6", text);
		assert_null(yaml_at(&user, "bootcmd/1/0"));
		assert_yaml(&network, "ethernets/venv0/match/macaddress", text);
		assert_yaml(&network, "ethernets/venv0/addresses/0", address);
		assert_yaml(&network, "ethernets/venv0/routes/0/via", text);
		for (const char *c = user.data; *c; c++)
			assert_true((*c >= ' ' && *c <= '~') || *c == '\n');
	}
}

static void what_is_not_utf8_is_refused(void **state)
{
	static const char *const bad[] = { "\xff",         "\xc3",         "\xc0\xaf",
					   "\xed\xa0\x80", "\xe2\x80",     "\xf4\x90\x80\x80",
					   "\x80",         "\xf8\x88\x80", "ok\xe0\x80\x80" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct seed_mount mount = { "venv0", bad[i], false };
		struct seed seed = { .instance = "i", .hostname = "h", .user = bad[i] };
		unsigned char *image = NULL;
		size_t size = 0;

		assert_int_equal(venv__seed_image(&seed, &image, &size, NULL), VENV_ERR_INVALID);
		seed.user = "u";
		seed.mounts = &mount;
		seed.n_mounts = 1;
		assert_int_equal(venv__seed_image(&seed, &image, &size, NULL), VENV_ERR_INVALID);
		assert_null(image);
	}
}

/* ---- The file system ----------------------------------------------------------------------- */

struct disk {
	char dir[64], path[96];
};

static int setup(void **state)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	(void)snprintf(disk->dir, sizeof(disk->dir), "/tmp/venv-test-seed.XXXXXX");
	if (!mkdtemp(disk->dir))
		return -1;
	(void)snprintf(disk->path, sizeof(disk->path), "%s/disk", disk->dir);
	*state = disk;
	return 0;
}

static int teardown(void **state)
{
	struct disk *disk = *state;

	assert_int_equal(venv__tree_delete(AT_FDCWD, disk->dir, NULL), 0);
	free(disk);
	return 0;
}

static void write_disk(const struct disk *disk, const unsigned char *image, size_t size)
{
	_cleanup_close_ int fd = open(disk->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(venv__write_all(fd, image, size), 0);
}

/* Output of a command line of single words, which must succeed; NULL: there is no such program. */
static char *run(const char *line)
{
	_cleanup_free_ char *copy = strdup(line);
	char *argv[12] = { NULL }, *output = NULL, *rest = NULL;
	size_t n = 0;
	int r;

	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[n++] = word;
	r = venv__run(argv, &output, NULL);
	if (r == VENV_ERR_NOT_FOUND || r == 127) {
		free(output);
		return NULL;
	}
	if (r != 0)
		fail_msg("%s: status %d: %s", line, r, output ? output : "");
	return output;
}

static void judge(const struct disk *disk)
{
	_cleanup_free_ char *line = NULL, *output = NULL;

	assert_true(asprintf(&line, "fsck.fat -n -v %s", disk->path) > 0);
	output = run(line);
	if (!output)
		skip();
}

static char *read_by_mtools(const struct disk *disk, const char *name)
{
	_cleanup_free_ char *line = NULL;

	assert_true(asprintf(&line, "mtype -i %s ::%s", disk->path, name) > 0);
	return run(line);
}

static void the_disk_is_a_disk(void **state)
{
	const struct disk *disk = *state;
	_cleanup_buf_ struct buf user = { 0 };
	_cleanup_free_ unsigned char *image = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL, *line = NULL, *label = NULL;
	size_t size = 0, size_again = 0;

	assert_int_equal(venv__seed_image(&typical, &image, &size, NULL), 0);
	assert_int_equal(venv__seed_image(&typical, &again, &size_again, NULL), 0);
	assert_int_equal(size, size_again);
	assert_memory_equal(image, again, size);
	write_disk(disk, image, size);
	judge(disk);
	text = read_by_mtools(disk, "user-data");
	if (!text)
		return; /* no mtools */
	venv__seed_user_data(&typical, &user);
	assert_string_equal(text, user.data);
	assert_true(asprintf(&line, "blkid -p -o export %s", disk->path) > 0);
	label = run(line);
	if (!label)
		return;
	assert_non_null(strstr(label, "LABEL=CIDATA\n"));
	assert_non_null(strstr(label, "TYPE=vfat\n"));
}

/* What the kernel makes of it: as cloud-init does. */
static void the_kernel_reads_it(void **state)
{
	const struct disk *disk = *state;
	_cleanup_free_ unsigned char *image = NULL;
	_cleanup_free_ char *line = NULL, *output = NULL;
	char shell[] = "/bin/sh", flag[] = "-c", *argv[] = { shell, flag, NULL, NULL };
	size_t size = 0;
	int r;

	if (geteuid() != 0)
		skip();
	assert_int_equal(venv__seed_image(&typical, &image, &size, NULL), 0);
	write_disk(disk, image, size);
	assert_true(
		asprintf(
			&line,
			"mkdir %s/m && unshare -m sh -c 'mount -o ro,loop %s %s/m || exit 77; ls %s/m; "
			"cat %s/m/meta-data'",
			disk->dir, disk->path, disk->dir, disk->dir, disk->dir) > 0);
	argv[2] = line;
	r = venv__run(argv, &output, NULL);
	if (r == 77) /* no loop devices here; skip() would leave what is allocated */
		return;
	assert_int_equal(r, 0);
	assert_string_equal(output, "meta-data\nnetwork-config\nuser-data\n"
				    "instance-id: \"0123456789abcdef\"\nlocal-hostname: \"web\"\n");
}

/* Sizes around those of sectors and clusters, up to where clusters must grow. */
static void files_of_any_size(void **state)
{
	static const size_t sizes[][2] = {
		{ 0, 0 },          { 0, 1 },           { 1, 511 },          { 512, 513 },
		{ 1024, 16384 },   { 100000, 7 },      { 1000000, 900000 }, { 2000000, 2000001 },
		{ 4000000, 1000 }, { 3000000, 500000 }
	};
	const struct disk *disk = *state;
	_cleanup_free_ char *data = malloc(FAT_SIZE_MAX);

	for (size_t i = 0; i < FAT_SIZE_MAX; i++)
		data[i] = (char)('a' + (i / 7 + i / 512) % 26);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct fat_file files[] = { { "first", data, sizes[i][0] },
						  { "second.data", data + 1, sizes[i][1] },
						  { "a-name-of-26-characters.ab", "x", 1 } };
		_cleanup_free_ unsigned char *image = NULL;
		_cleanup_free_ char *first = NULL, *third = NULL;
		size_t size = 0;

		assert_int_equal(venv__fat_make("X", 1, files, 3, &image, &size), 0);
		write_disk(disk, image, size);
		judge(disk);
		third = read_by_mtools(disk, "a-name-of-26-characters.ab");
		if (!third)
			return; /* no mtools */
		assert_string_equal(third, "x");
		first = read_by_mtools(disk, "second.data");
		if (sizes[i][1] <= 65536) {
			assert_int_equal(strlen(first), sizes[i][1]);
			assert_memory_equal(first, data + 1, sizes[i][1]);
		}
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	static const struct {
		struct fat_file file;
		int result;
	} cases[] = {
		{ { "", "", 0 }, -EINVAL },
		{ { "a/b", "", 0 }, -EINVAL },
		{ { "a b", "", 0 }, -EINVAL },
		{ { "a.", "", 0 }, -EINVAL },
		{ { "caf\xc3\xa9", "", 0 }, -EINVAL },
		{ { "a-name-of-27-characters.abc", "", 0 }, -EINVAL },
		{ { "big", "", FAT_SIZE_MAX + 1 }, -EFBIG },
		{ { "big", "", SIZE_MAX }, -EFBIG },
	};
	unsigned char *image = NULL;
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(venv__fat_make("X", 1, &cases[i].file, 1, &image, &size),
				 cases[i].result);
	assert_int_equal(venv__fat_make("TWELVE CHARS", 1, NULL, 0, &image, &size), -EINVAL);
	assert_null(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_say_what_was_asked_for),
		cmocka_unit_test(root_logs_in_as_root),
		cmocka_unit_test(what_is_not_given_is_not_said),
		cmocka_unit_test(hostile_text_stays_text),
		cmocka_unit_test(what_is_not_utf8_is_refused),
		cmocka_unit_test_setup_teardown(the_disk_is_a_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(the_kernel_reads_it, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_any_size, setup, teardown),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests_name("seed", tests, NULL, NULL);
}
