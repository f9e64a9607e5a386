/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared folders and volumes. An ordinary user's are mounts that the child took by path (root.c):
 * guest root is the user, so what it writes is the user's. As root the keeper makes them, because
 * only it may shift ids, and for that it must know who the login user is; the child, which sees
 * the machine's /etc/passwd, tells it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../enter/account.h"
#include "mounts.h"
#include "setup.h"

static void tell_owner(struct setup *setup, const struct plan_folder *folder)
{
	const char *name = folder->owner ? folder->owner : setup->plan->login;
	struct account account;
	int r = enter_account_find(setup->root_fd, name, &account);

	if (r == -ENOENT)
		setup_fail(setup, STAGE_USERS, ENOENT, name);
	if (r == 0)
		r = setup_record_simple(setup->sync, RECORD_USER, account.uid, account.gid);
	if (r < 0)
		setup_fail(setup, STAGE_USERS, -r, name);
}

static void receive_trees(struct setup *setup)
{
	size_t n = 0;
	struct record record;

	if (setup_record_receive(setup->sync, &record, setup->folder_trees, setup->plan->n_folders,
				 &n) != 1 ||
	    record.kind != RECORD_TREES || n != setup->plan->n_folders)
		_exit(1);
}

static void hide(struct setup *setup, int tree_fd, const char *name)
{
	_cleanup_close_ int target = venv__open_beneath(tree_fd, name, O_PATH | O_DIRECTORY, 0);
	_cleanup_close_ int cover = -1;
	int r;

	if (target == -ENOENT || target == -ENOTDIR || target == -ELOOP)
		return;
	cover = setup_empty(setup);
	r = target < 0 ? target : cover < 0 ? cover : setup_mount_on(cover, target, "");
	if (r < 0)
		setup_fail(setup, STAGE_FOLDERS, -r, name);
}

static void put(struct setup *setup, const struct plan_folder *folder, int tree_fd)
{
	_cleanup_close_ int target = venv__mkdir_in_root(setup->root_fd, folder->guest, 0755);
	int r = target < 0 ? target : setup_mount_on(tree_fd, target, "");

	if (r < 0)
		setup_fail(setup, STAGE_FOLDERS, -r, folder->guest);
	if (folder->hide)
		hide(setup, tree_fd, folder->hide);
}

void setup_folders(struct setup *setup)
{
	const struct plan *plan = setup->plan;

	if (!plan->n_folders)
		return;
	if (plan->map.root) {
		for (size_t i = 0; i < plan->n_folders; i++)
			if (!plan->folders[i].volume)
				tell_owner(setup, &plan->folders[i]);
		receive_trees(setup);
	}
	for (size_t i = 0; i < plan->n_folders; i++)
		put(setup, &plan->folders[i], setup->folder_trees[i]);
}
