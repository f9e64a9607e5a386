/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The project file is not trusted blindly: keys that reach the host take effect only when the user
 * approved them as they are written now. What was approved is kept outside the project, as one digest
 * for each key and value, so that taking a key away needs no new approval and changing it does.
 */
#include <string.h>

#include "lifecycle.h"
#include "util/digest.h"
#include "value.h"

static int digest_entry(const json_t *entry, char ret[DIGEST_HEX_SIZE])
{
	_cleanup_json_ json_t *bare = json_deep_copy(entry);
	_cleanup_free_ char *text = NULL;

	/* where it stands in the file does not matter */
	(void)json_object_del(bare, "line");
	(void)json_object_del(bare, "column");
	(void)json_object_del(bare, "file");
	text = bare ? venv__json_text(bare, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	return text ? venv__digest_of(text, strlen(text), ret) : -ENOMEM;
}

/* *ret stays NULL where nothing is approved, or nobody can tell what. */
static int read_approved(const struct venv_project *project, json_t **ret, venv_error **err)
{
	if (!project->uuid ||
	    venv__json_read(project->dir_fd, "approved.json", ret, NULL) != VENV_ERR_NOMEM)
		return 0;
	return venv__fail_nomem(err);
}

static int unapproved(struct venv_project *project, json_t **ret, venv_error **err)
{
	_cleanup_json_ json_t *approved = NULL, *list = json_array();
	const json_t *digests;
	json_t *entry;
	size_t i;
	int r = read_approved(project, &approved, err);

	if (r < 0)
		return r;
	digests = json_object_get(approved, "digests");
	json_array_foreach(project->spec->approve, i, entry)
	{
		char digest[DIGEST_HEX_SIZE];

		if (digest_entry(entry, digest) < 0)
			return venv__fail_nomem(err);
		if (!json_object_get(digests, digest) && json_array_append(list, entry) < 0)
			return venv__fail_nomem(err);
	}
	*ret = take_ptr(list);
	return *ret ? 0 : venv__fail_nomem(err);
}

static int refuse(const struct venv_project *project, const json_t *entry, venv_error **err)
{
	const json_t *what = json_object_get(entry, "value");
	const char *machine = venv__json_str(entry, "machine"), *key = venv__json_str(entry, "key");
	_cleanup_free_ char *value =
		json_is_null(what) ? NULL : venv__json_text(what, JSON_COMPACT | JSON_ENCODE_ANY);
	_cleanup_free_ char *whose = NULL;
	int r;

	if (machine && asprintf(&whose, " of machine '%s'", machine) < 0)
		whose = NULL;
	r = venv__fail_at(err, VENV_ERR_DENIED,
			  venv__json_str(entry, "file") ?: project->spec->file,
			  (unsigned)venv__json_int(entry, "line", 0),
			  (unsigned)venv__json_int(entry, "column", 0),
			  "'%s'%s %s and was not approved%s%s", key ? key : "?", whose ? whose : "",
			  value ? "reaches the host" : "takes a variable of your environment",
			  value ? ": " : "", value ? value : "");
	return venv__hint(r, err, "look at it and allow it with 'venv approve'");
}

int venv__approval_check(struct venv_project *project, venv_error **err)
{
	_cleanup_json_ json_t *open = NULL;
	int r = unapproved(project, &open, err);

	if (r < 0 || !json_array_size(open))
		return r;
	return refuse(project, json_array_get(open, 0), err);
}

int venv__approval_check_agent(struct venv_project *project, const char *machine, venv_error **err)
{
	_cleanup_json_ json_t *open = NULL;
	const json_t *entry;
	size_t i;
	int r = unapproved(project, &open, err);

	if (r < 0)
		return r;
	json_array_foreach(open, i, entry)
	{
		const char *key = venv__json_str(entry, "key");
		const char *of = venv__json_str(entry, "machine");

		if (key && of && strcmp(key, "ssh.forward_agent") == 0 && strcmp(of, machine) == 0)
			return refuse(project, entry, err);
	}
	return 0;
}

int venv_approvals(venv_project *project, venv_value **ret, venv_error **err)
{
	json_t *open = NULL;
	int r = unapproved(project, &open, err);

	return r < 0 ? r : venv__answer(open, ret, err);
}

int venv_approve(venv_project *project, venv_error **err)
{
	_cleanup_json_ json_t *record = NULL;
	json_t *digests = json_object(), *entry;
	size_t i;
	int r = venv__project_ensure(project, err);

	record = json_pack("{s:i, s:o}", "version", 1, "digests", digests);
	if (r < 0 || !record)
		return r < 0 ? r : venv__fail_nomem(err);
	json_array_foreach(project->spec->approve, i, entry)
	{
		char digest[DIGEST_HEX_SIZE];

		if (digest_entry(entry, digest) < 0)
			return venv__fail_nomem(err);
		if (json_object_set(digests, digest, entry) < 0)
			return venv__fail_nomem(err);
	}
	return venv__json_write(project->dir_fd, "approved.json", record, WRITE_DURABLE, err);
}
