/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the keeper's child has entered the machine's namespaces, has dropped what
 * the profile drops, loaded the filter and put the command's descriptors (or a new terminal) on
 * 0, 1, 2; nothing else is open. What is left needs the machine's own files: who the user is, its
 * home, its shell. All of it is hostile text; nothing here loads a library or follows a name
 * service.
 */
#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "environ.h"
#include "util/cleanup.h"
#include "util/compiler.h"

struct request {
	const char *user;
	const char *directory; /* NULL: home */
	const char *shell_command;
	bool login, tty;
};

/* weak: the servers are files of their own and may be left out of a build */
__attribute__((weak)) int enter_sftp(void)
{
	return enter_complain("sftp", "not part of this build", ENOSYS);
}

__attribute__((weak)) int enter_scp(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return enter_complain("scp", "not part of this build", ENOSYS);
}

/* Names come from the image and the machine, and this goes to a person's terminal: no byte of theirs
 * may be a control (C1 ones are two bytes in UTF-8). */
static void make_visible(const char *text, char *ret, size_t size)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n = 0;

	for (; *p && n + 5 < size; p++) {
		bool control =
			*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);

		if (control)
			n += (size_t)snprintf(ret + n, size - n, "\\x%02x", *p);
		else
			ret[n++] = (char)*p;
	}
	ret[n] = '\0';
}

int enter_complain(const char *what, const char *name, int number)
{
	char visible[1024];

	make_visible(name, visible, sizeof(visible));
	(void)dprintf(2, "venv: %s '%s': %s\n", what, visible, strerror(number));
	return ENTER_FAILED;
}

/* As root of the machine, before its user: as for sshd, the files need not be readable to it. */
static void add_login_environment(void)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root >= 0)
		enter_environ_add(root);
}

/* C.UTF-8 is there in every image; the locale of the user's host seldom is. */
static int set_language(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (getenv(names[i]))
			return 0;
	return setenv("LANG", "C.UTF-8", 1);
}

/* As sshd: the terminal's name, in a session that came by ssh. A slave's minor number is its name. */
static int name_terminal(void)
{
	struct stat st;
	char name[32];

	if (!getenv("SSH_CONNECTION") || fstat(0, &st) < 0)
		return 0;
	(void)snprintf(name, sizeof(name), "/dev/pts/%u", minor(st.st_rdev));
	return setenv("SSH_TTY", name, 1);
}

static int set_environment(const struct request *request, const struct account *account)
{
	static const char path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	const char *name = account->name;

	if (request->tty && (set_language() < 0 || name_terminal() < 0))
		return -1;
	if (setenv("HOME", account->home, 1) < 0 || setenv("SHELL", account->shell, 1) < 0 ||
	    setenv("PATH", path, 0) < 0)
		return -1;
	if (!*name)
		return 0;
	return setenv("USER", name, 1) < 0 || setenv("LOGNAME", name, 1) < 0 ? -1 : 0;
}

/* The terminal was made by guest root: give it to the user, as login does. */
static void give_terminal(const struct account *account)
{
	gid_t tty_group = 5;

	if (fchown(0, account->uid, tty_group) < 0)
		return; /* then the user still has the open descriptor */
	(void)fchmod(0, 0620);
}

static int become(const struct account *account, bool tty)
{
	gid_t groups[ACCOUNT_GROUPS_MAX + 1];
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;

	groups[n++] = account->gid;
	n += enter_account_groups(root, account, groups + 1);
	if (tty)
		give_terminal(account);
	if (setgroups(n, groups) < 0 || setresgid(account->gid, account->gid, account->gid) < 0 ||
	    setresuid(account->uid, account->uid, account->uid) < 0)
		return -errno;
	return 0;
}

/* A directory that was asked for must be there; a home may be missing. */
static int change_directory(const struct request *request, const struct account *account)
{
	char where[PATH_MAX];

	if (request->directory) {
		if (chdir(request->directory) < 0)
			return enter_complain("cannot change to the directory", request->directory,
					      errno);
	} else if (chdir(account->home) < 0 && chdir("/") < 0) {
		return enter_complain("cannot change to the directory", "/", errno);
	}
	if (!getcwd(where, sizeof(where)) || where[0] != '/')
		return enter_complain("the directory is not in the machine",
				      request->directory ? request->directory : account->home,
				      ENOENT);
	return 0;
}

static int run_shell(const struct request *request, const struct account *account)
{
	const char *base = strrchr(account->shell, '/') + 1;
	char name[sizeof(account->shell) + 1], option[] = "-c", *command = NULL;
	char *argv[] = { name, NULL, NULL, NULL };

	(void)snprintf(name, sizeof(name), "%s%s", request->shell_command ? "" : "-", base);
	if (request->shell_command) {
		command = strdup(request->shell_command);
		argv[1] = option;
		argv[2] = command;
	}
	(void)execv(account->shell, argv);
	(void)enter_complain("cannot execute the shell", account->shell, errno);
	return ENTER_CANNOT;
}

static int run_command(char **argv)
{
	int number;

	(void)execvp(argv[0], argv);
	number = errno;
	(void)enter_complain("cannot execute", argv[0], number);
	return number == ENOENT || number == ENOTDIR ? ENTER_NOT_FOUND : ENTER_CANNOT;
}

static int parse(int argc, char **argv, struct request *ret)
{
	int option;

	while ((option = getopt(argc, argv, "+u:d:c:lt")) != -1) {
		switch (option) {
		case 'u':
			ret->user = optarg;
			break;
		case 'd':
			ret->directory = optarg;
			break;
		case 'c':
			ret->shell_command = optarg;
			break;
		case 'l':
			ret->login = true;
			break;
		case 't':
			ret->tty = true;
			break;
		default:
			return -1;
		}
	}
	return 0;
}

static int find_account(const char *user, struct account *ret)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? -errno : enter_account_find(root, user, ret);

	if (r == -ENOENT) {
		char visible[1024];

		make_visible(user, visible, sizeof(visible));
		(void)dprintf(
			2,
			"venv: the machine has no user '%s'\n"
			"hint: make that user in a provisioning step with 'as: root', or name one "
			"that the machine has\n",
			visible);
		return ENTER_FAILED;
	}
	return r < 0 ? enter_complain("cannot find the user", user, -r) : 0;
}

static int run_mode(const char *mode, const struct request *request, const struct account *account,
		    char **rest)
{
	if (strcmp(mode, "sftp") == 0)
		return enter_sftp();
	if (strcmp(mode, "scp") == 0) {
		int count = 0;

		while (rest[count])
			count++;
		return enter_scp(count, rest);
	}
	if (*rest)
		return run_command(rest);
	return run_shell(request, account);
}

static int as_user(const char *mode, int argc, char **argv)
{
	struct request request = { .user = "root" };
	struct account account = { .home = "/" };
	int r;

	if (parse(argc, argv, &request) < 0)
		return ENTER_FAILED;
	r = find_account(request.user, &account);
	if (r)
		return r;
	if (strcmp(mode, "listen-agent") == 0)
		return enter_listen_agent(&account);
	if (request.login)
		add_login_environment();
	r = become(&account, request.tty);
	if (r < 0)
		return enter_complain("cannot become the user", request.user, -r);
	if (set_environment(&request, &account) < 0)
		return enter_complain("cannot set the environment", request.user, ENOMEM);
	r = change_directory(&request, &account);
	return r ? r : run_mode(mode, &request, &account, argv + optind);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "dial") == 0 && argc == 4)
		return enter_dial(argv[2], argv[3]);
	if (strcmp(mode, "dial-path") == 0 && argc == 3)
		return enter_dial_path(argv[2]);
	if (strcmp(mode, "unlisten-agent") == 0 && argc == 3)
		return enter_unlisten_agent(argv[2]);
	if (strcmp(mode, "listen") == 0 && argc == 4)
		return enter_listen(argv[2], argv[3]);
	if (argc > 1)
		return as_user(mode, argc - 1, argv + 1);
	return ENTER_FAILED;
}
