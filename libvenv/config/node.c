/* SPDX-License-Identifier: Apache-2.0 */
#include "node.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

struct pool_block {
	struct pool_block *next;
	max_align_t data[];
};

/* One allocation each: pools are small, and memory checkers see every overrun. */
void *venv__pool_alloc(struct pool *pool, size_t size)
{
	struct pool_block *block = calloc(1, sizeof(*block) + size);

	if (!block)
		return NULL;
	block->next = pool->blocks;
	pool->blocks = block;
	return block->data;
}

char *venv__pool_text(struct pool *pool, const char *text, size_t length)
{
	char *ret = venv__pool_alloc(pool, length + 1);

	if (ret && length)
		memcpy(ret, text, length);
	return ret;
}

char *venv__pool_printf(struct pool *pool, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return NULL;
	}
	return venv__pool_text(pool, text, (size_t)n);
}

void venv__pool_done(struct pool *pool)
{
	struct pool_block *next;

	for (struct pool_block *block = pool->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	pool->blocks = NULL;
}

size_t venv__utf8_decode(const unsigned char *p, size_t left, unsigned *ret_character)
{
	static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 4;
	unsigned c;

	if (n == 1) {
		*ret_character = *p;
		return 1;
	}
	if ((*p & 0xc0) == 0x80 || *p > 0xf4 || n > left)
		return 0;
	c = *p & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret_character = c;
	return n;
}

bool venv__is_printable(unsigned c)
{
	if (c < 0x20)
		return c == '\t' || c == '\n' || c == '\r';
	return c != 0x7f && (c < 0x80 || c > 0x9f || c == 0x85) && c != 0xfffe && c != 0xffff;
}

bool venv__text_is_clean(const char *text)
{
	size_t left = strlen(text), n;
	unsigned c = 0;

	for (; left; left -= n, text += n) {
		n = venv__utf8_decode((const unsigned char *)text, left, &c);
		if (!n || !venv__is_printable(c))
			return false;
	}
	return true;
}

struct node *venv__node_new(struct pool *pool, enum node_kind kind, const struct place *place)
{
	struct node *node = venv__pool_alloc(pool, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->place = *place;
	return node;
}

struct node *venv__node_scalar(struct pool *pool, const struct place *place, const char *text)
{
	struct node *node = venv__node_new(pool, NODE_SCALAR, place);

	if (!node)
		return NULL;
	node->text = venv__pool_text(pool, text, strlen(text));
	return node->text ? node : NULL;
}

/* Room for one more element; the old array stays in the pool. */
static int grow(struct pool *pool, struct node *node, void **elements, size_t size)
{
	size_t capacity = node->capacity ? node->capacity * 2 : 8;
	void *grown;

	if (node->n < node->capacity)
		return 0;
	grown = venv__pool_alloc(pool, capacity * size);
	if (!grown)
		return -ENOMEM;
	if (node->n && *elements)
		memcpy(grown, *elements, node->n * size);
	*elements = grown;
	node->capacity = capacity;
	return 0;
}

int venv__node_append(struct pool *pool, struct node *list, struct node *item)
{
	void *items = list->items;

	if (grow(pool, list, &items, sizeof(struct node *)) < 0)
		return -ENOMEM;
	list->items = items;
	list->items[list->n++] = item;
	return 0;
}

int venv__node_add(struct pool *pool, struct node *map, const struct entry *entry)
{
	void *entries = map->entries;

	if (grow(pool, map, &entries, sizeof(struct entry)) < 0)
		return -ENOMEM;
	map->entries = entries;
	map->entries[map->n++] = *entry;
	return 0;
}

const struct entry *venv__node_find(const struct node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++)
		if (strcmp(map->entries[i].key, key) == 0)
			return &map->entries[i];
	return NULL;
}

struct node *venv__node_get(const struct node *map, const char *key)
{
	const struct entry *entry = venv__node_find(map, key);

	return entry ? entry->value : NULL;
}

void venv__node_remove(struct node *map, const char *key)
{
	size_t kept = 0;

	for (size_t i = 0; i < map->n; i++)
		if (strcmp(map->entries[i].key, key) != 0)
			map->entries[kept++] = map->entries[i];
	map->n = kept;
}

bool venv__node_is_empty(const struct node *node)
{
	return node->kind == NODE_SCALAR && node->plain && !*node->text;
}

const char *venv__node_kind_name(const struct node *node)
{
	switch (node->kind) {
	case NODE_LIST:
		return "a list";
	case NODE_MAP:
		return "a map";
	default:
		return "text";
	}
}

struct place venv__node_at(const struct node *scalar, const char *at)
{
	struct place place = scalar->place;

	if (!scalar->exact || !place.line || at <= scalar->text)
		return place;
	place.column += scalar->quoted;
	for (const char *p = scalar->text; p < at; p++)
		if (((unsigned char)*p & 0xc0) != 0x80) /* not a byte that continues a character */
			place.column++;
	return place;
}

struct node *venv__node_merge(struct pool *pool, struct node *base, struct node *over)
{
	struct node *ret;

	if (!base || !over)
		return over ? over : base;
	if (base->kind != NODE_MAP || over->kind != NODE_MAP)
		return over;
	ret = venv__node_new(pool, NODE_MAP, &over->place);
	if (!ret)
		return NULL;
	for (size_t i = 0; i < base->n; i++) {
		struct entry entry = base->entries[i];
		const struct entry *other = venv__node_find(over, entry.key);

		if (other) {
			entry = *other;
			entry.value = venv__node_merge(pool, base->entries[i].value, other->value);
		}
		if (!entry.value || venv__node_add(pool, ret, &entry) < 0)
			return NULL;
	}
	for (size_t i = 0; i < over->n; i++)
		if (!venv__node_find(base, over->entries[i].key) &&
		    venv__node_add(pool, ret, &over->entries[i]) < 0)
			return NULL;
	return ret;
}

/* printf would write the decimal point of the program's locale. */
void venv__decimal_format(double value, char *ret, size_t size)
{
	long long thousandths = (long long)(value * 1000 + 0.5);
	int n = snprintf(ret, size, "%lld.%03lld", thousandths / 1000, thousandths % 1000);

	while (n > 0 && ret[n - 1] == '0')
		ret[--n] = '\0';
	if (n > 0 && ret[n - 1] == '.')
		ret[n - 1] = '\0';
}

/* As it is written in venv.yml: booleans and numbers are text there. */
static struct node *scalar_from_json(struct pool *pool, const json_t *value,
				     const struct place *place)
{
	char number[32] = "";

	if (json_is_string(value))
		return venv__node_scalar(pool, place, json_string_value(value));
	if (json_is_boolean(value))
		return venv__node_scalar(pool, place, json_is_true(value) ? "true" : "false");
	if (json_is_integer(value))
		(void)snprintf(number, sizeof(number), "%lld",
			       (long long)json_integer_value(value));
	else if (json_is_real(value))
		venv__decimal_format(json_real_value(value), number, sizeof(number));
	return venv__node_scalar(pool, place, number);
}

struct node *venv__node_from_json(struct pool *pool, const json_t *value, const struct place *place)
{
	struct entry entry = { .place = *place };
	struct node *node;
	const char *key;
	json_t *child;
	size_t i;

	if (!json_is_object(value) && !json_is_array(value))
		return scalar_from_json(pool, value, place);
	node = venv__node_new(pool, json_is_object(value) ? NODE_MAP : NODE_LIST, place);
	if (!node)
		return NULL;
	json_array_foreach(value, i, child)
	{
		struct node *item = venv__node_from_json(pool, child, place);

		if (!item || venv__node_append(pool, node, item) < 0)
			return NULL;
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, child)
	{
		entry.key = venv__pool_text(pool, key, strlen(key));
		entry.value = venv__node_from_json(pool, child, place);
		if (!entry.key || !entry.value || venv__node_add(pool, node, &entry) < 0)
			return NULL;
	}
	return node;
}
