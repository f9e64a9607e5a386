/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv.lock lies in the project's directory, which a guest may write: what it says only ever chooses
 * between boxes that the user's own store holds.
 */
#include "locks.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "box/box.h"

/* Machines of one project are brought up by several threads. */
static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;

/* 0 or VENV_ERR_NOMEM; *ret stays NULL where there is none that can be read. */
static int read_file(struct venv_project *project, json_t **ret)
{
	_cleanup_close_ int fd = open(project->spec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	return venv__json_read(fd, "venv.lock", ret, NULL) == VENV_ERR_NOMEM ? VENV_ERR_NOMEM : 0;
}

static const json_t *entry_of(const json_t *file, const char *reference)
{
	return json_object_get(json_object_get(file, "boxes"), reference);
}

static bool is_digest(const char *text)
{
	return text && strncmp(text, "sha256:", 7) == 0 && strlen(text) == 71 &&
	       strspn(text + 7, "0123456789abcdef") == 64;
}

/* A box that lost its name to another one of the same version is still what the reference means. */
static int name_again(struct box *box, const char *reference, const char *version,
		      const char *constraint)
{
	_cleanup_free_ char *name = NULL, *own_version = NULL;
	int r = 1;

	if (strncmp(box->digest, "sha256:", 7) != 0 || strcmp(box->name, box->digest + 7) != 0)
		return 0;
	if (version && constraint)
		r = venv__version_matches(version, constraint, NULL);
	name = strndup(reference, strcspn(reference, "@"));
	own_version = strdup(version ? version : box->version);
	if (r <= 0 || !name || !own_version) {
		venv__box_done(box);
		*box = (struct box){ 0 };
		return !name || !own_version ? VENV_ERR_NOMEM : VENV_ERR_NOT_FOUND;
	}
	free(box->name);
	free(box->version);
	box->name = take_ptr(name);
	box->version = take_ptr(own_version);
	return 0;
}

int venv__lock_file_box(struct venv_project *project, const char *reference, const char *constraint,
			const char *architecture, struct box *ret)
{
	_cleanup_json_ json_t *file = NULL;
	const char *digest, *version;
	int r;

	(void)pthread_mutex_lock(&file_lock);
	r = read_file(project, &file);
	(void)pthread_mutex_unlock(&file_lock);
	if (r < 0)
		return r;
	digest = venv__json_str(entry_of(file, reference), "digest");
	version = venv__json_str(entry_of(file, reference), "version");
	if (!is_digest(digest))
		return VENV_ERR_NOT_FOUND;
	r = venv__box_open(project->ctx, digest, constraint, architecture, ret, NULL);
	return r < 0 ? r : name_again(ret, reference, version, constraint);
}

static int write_entry(struct venv_project *project, json_t *file, const char *reference,
		       const struct box *box, venv_error **err)
{
	_cleanup_close_ int fd = open(project->spec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	json_t *boxes = json_object_get(file, "boxes");
	int failed = 0;

	if (fd < 0)
		return venv__fail_errno(err, errno, "cannot open '%s'", project->spec->dir);
	if (!json_is_object(boxes)) {
		boxes = json_object();
		failed |= json_object_set_new(file, "boxes", boxes);
	}
	failed |= json_object_set_new(file, "version", json_integer(1));
	failed |= json_object_set_new(boxes, reference,
				      venv__json_pack("{s:s, s:s*, s:s*}", "digest", box->digest,
						      "version", box->version, "source",
						      box->source));
	text = failed ? NULL : venv__json_text(file, JSON_INDENT(2) | JSON_SORT_KEYS);
	if (!text)
		return venv__fail_nomem(err);
	return venv__file_write(fd, "venv.lock", text, strlen(text), 0644, WRITE_VOLATILE, err);
}

static bool in_store(struct venv *ctx, const char *digest)
{
	_cleanup_box_ struct box box = { 0 };

	return is_digest(digest) && venv__box_open(ctx, digest, NULL, NULL, &box, NULL) == 0;
}

int venv__lock_file_save(struct venv_project *project, const char *reference, const struct box *box,
			 struct venv_op *op, venv_error **err)
{
	_cleanup_json_ json_t *file = NULL;
	const json_t *entry;
	const char *digest, *version;
	int r;

	(void)pthread_mutex_lock(&file_lock);
	r = read_file(project, &file);
	if (r == 0 && !json_is_object(file)) {
		json_decref(file);
		file = json_object();
	}
	entry = entry_of(file, reference);
	digest = venv__json_str(entry, "digest");
	version = venv__json_str(entry, "version");
	if (digest && strcmp(digest, box->digest) != 0 && version && box->version &&
	    strcmp(version, box->version) != 0)
		venv__op_warning(op, NULL,
				 "venv.lock pins version %s of box '%s', which is not %s: version "
				 "%s is used and pinned now",
				 version, reference,
				 in_store(project->ctx, digest) ? "what venv.yml wants"
								: "in the store",
				 box->version);
	if (!file)
		r = venv__fail_nomem(err);
	/* the same version built elsewhere has another digest: the pin of the team stays */
	else if (!digest || !version || !box->version || strcmp(version, box->version) != 0)
		r = write_entry(project, file, reference, box, err);
	(void)pthread_mutex_unlock(&file_lock);
	return r;
}
