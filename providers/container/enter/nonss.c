/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A static program that calls a name service would load the machine's libraries. Nothing here
 * does; these stand in for libc's functions, so that shared sources of ours that mention them
 * bring none of it in.
 */
#include <grp.h>
#include <pwd.h>
#include <stddef.h>

struct passwd *getpwuid(uid_t uid)
{
	(void)uid;
	return NULL;
}

struct passwd *getpwnam(const char *name)
{
	(void)name;
	return NULL;
}

struct group *getgrgid(gid_t gid)
{
	(void)gid;
	return NULL;
}

struct group *getgrnam(const char *name)
{
	(void)name;
	return NULL;
}
