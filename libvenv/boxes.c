/* SPDX-License-Identifier: Apache-2.0 */
/* The public side of boxes, and who uses them. */
#include <string.h>

#include "box/box.h"
#include "op_private.h"
#include "project.h"
#include "value.h"

int venv_box_list(venv *ctx, venv_value **ret, venv_error **err)
{
	json_t *list = NULL;
	int r = venv__box_list(ctx, &list, err);

	return r < 0 ? r : venv__answer(list, ret, err);
}

int venv_box_info(venv *ctx, const char *name, venv_value **ret, venv_error **err)
{
	json_t *info = NULL;
	int r = venv__box_info(ctx, name, &info, err);

	return r < 0 ? r : venv__answer(info, ret, err);
}

int venv_box_recipes(venv *ctx, venv_value **ret, venv_error **err)
{
	return venv__answer(venv__recipe_list(ctx), ret, err);
}

int venv_box_remove(venv *ctx, const char *name, venv_error **err)
{
	return venv__box_remove(ctx, name, err);
}

int venv_box_prune(venv *ctx, venv_value **ret, venv_error **err)
{
	json_t *result = NULL;
	int r = venv__box_prune(ctx, &result, err);

	return r < 0 ? r : venv__answer(result, ret, err);
}

struct make {
	struct venv *ctx;
	char *name, *source;
	bool build;
};

static void make_free(void *user)
{
	struct make *make = user;

	free(make->name);
	free(make->source);
	free(make);
}

static int make_work(struct venv_op *op, void *user, venv_error **err)
{
	const struct make *make = user;
	_cleanup_box_ struct box box = { 0 };
	int r;

	if (make->build)
		r = venv__box_build(make->ctx, make->source, op, &box, err);
	else
		r = venv__box_add(make->ctx, make->name, make->source, op, &box, err);
	if (r == 0)
		venv__op_set_result(op, venv__box_to_json(&box));
	return r;
}

static int start(venv *ctx, const char *name, const char *source, bool build, venv_op **op,
		 venv_error **err)
{
	struct make *make = calloc(1, sizeof(*make));

	if (!make)
		return venv__fail_nomem(err);
	*make = (struct make){ .ctx = ctx, .build = build };
	make->name = name ? strdup(name) : NULL;
	make->source = strdup(source);
	if (!make->source || (name && !make->name)) {
		make_free(make);
		return venv__fail_nomem(err);
	}
	return venv__op_start(ctx, make_work, make, make_free, op, err);
}

int venv_box_add(venv *ctx, const char *name, const char *source, venv_op **op, venv_error **err)
{
	return start(ctx, name, source, false, op, err);
}

int venv_box_build(venv *ctx, const char *recipe, venv_op **op, venv_error **err)
{
	return start(ctx, NULL, recipe, true, op, err);
}

/* ---- For the store: who uses a box --------------------------------------------------------- */

/* Calls fn for every machine of this user with the digest of its box. */
static int each_machine(struct venv *ctx,
			int (*fn)(const json_t *spec, const char *digest, void *user), void *user,
			venv_error **err)
{
	_cleanup_strv_ char **ids = NULL;
	int r = venv__machine_ids(ctx, &ids, err);

	for (char **id = ids; r == 0 && *id; id++) {
		_cleanup_record_ struct record record = RECORD_INIT;
		venv_error *error = NULL;
		const char *digest;

		r = venv__machine_open(ctx, *id, &record, &error);
		if (r == VENV_ERR_NOT_FOUND) { /* half made or half destroyed: it holds no box */
			venv_error_free(error);
			r = 0;
			continue;
		}
		if (r < 0) /* what cannot be read may use anything: nothing is deleted then */
			return venv__error_take(error, err);
		digest = venv__json_str(json_object_get(record.spec, "box"), "digest");
		if (digest && fn(record.spec, digest, user) < 0)
			return venv__fail_nomem(err);
	}
	return r;
}

struct search {
	const char *digest;
	char **found;
};

static int add_user(const json_t *spec, const char *digest, void *user)
{
	struct search *search = user;

	if (strcmp(digest, search->digest) != 0)
		return 0;
	return venv__strv_addf(&search->found, "%s/%s",
			       venv__json_str(json_object_get(spec, "project"), "name") ?: "?",
			       venv__json_str(spec, "name") ?: "?");
}

int venv__machines_using(struct venv *ctx, const char *digest, char ***ret, venv_error **err)
{
	struct search search = { .digest = digest };
	int r = each_machine(ctx, add_user, &search, err);

	if (r < 0) {
		venv__strv_free(search.found);
		return r;
	}
	*ret = search.found ? search.found : calloc(1, sizeof(char *));
	return *ret ? 0 : venv__fail_nomem(err);
}

static int add_digest(const json_t *spec, const char *digest, void *user)
{
	(void)spec;
	return venv__strv_add(user, digest);
}

int venv__machines_digests(struct venv *ctx, char ***ret, venv_error **err)
{
	char **digests = calloc(1, sizeof(char *));
	int r = digests ? each_machine(ctx, add_digest, &digests, err) : venv__fail_nomem(err);

	if (r < 0) {
		venv__strv_free(digests);
		return r;
	}
	*ret = digests;
	return 0;
}
