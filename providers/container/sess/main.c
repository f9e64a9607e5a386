/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up of venv-sess: read the configuration, give up all rights, then serve. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sess.h"
#include "ssh/wire/confine.h"
#include "ssh/wire/door.h"

enum { CONFIG_MAX = 1 << 20 };

/* Without these, libssh would look for files: its configuration, and moduli for group exchange. */
#define KEX_METHODS                                                                                \
	"curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"    \
	"ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group14-sha256"

static int fail(const char *what)
{
	(void)dprintf(STDERR_FILENO, "venv-sess: %s\n", what);
	return 1;
}

static json_t *read_config(void)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	json_t *config = NULL;
	ssize_t n;

	if (fstat(SESS_CONFIG_FD, &st) < 0 || st.st_size <= 0 || st.st_size > CONFIG_MAX)
		return NULL;
	text = malloc((size_t)st.st_size);
	n = text ? pread(SESS_CONFIG_FD, text, (size_t)st.st_size, 0) : -1;
	(void)close(SESS_CONFIG_FD);
	if (n > 0 && venv__json_parse(text, (size_t)n, &config, NULL) < 0)
		config = NULL;
	if (text)
		OPENSSL_cleanse(text, (size_t)st.st_size);
	return config;
}

/* A line as in authorized_keys: type, base64, comment. What is not understood is left out. */
static void authorize(struct sess_config *config, const char *line)
{
	_cleanup_free_ char *copy = strdup(line);
	char *rest = copy, *type, *blob;
	ssh_key key = NULL;

	if (!copy || config->n_authorized == ARRAY_SIZE(config->authorized))
		return;
	type = strsep(&rest, " \t");
	blob = strsep(&rest, " \t\n");
	if (!type || !blob ||
	    ssh_pki_import_pubkey_base64(blob, ssh_key_type_from_name(type), &key) < 0)
		return;
	config->authorized[config->n_authorized++] = key;
}

static int use_config(struct sess_config *config, const json_t *json)
{
	const char *host_key = venv__json_str(json, "host_key");
	const char *login = venv__json_str(json, "login");
	const char *machine = venv__json_str(json, "machine");
	const json_t *line;
	size_t i;

	if (!host_key ||
	    ssh_pki_import_privkey_base64(host_key, NULL, NULL, NULL, &config->host_key) != SSH_OK)
		return -1;
	json_array_foreach(json_object_get(json, "authorized"), i, line) if (json_is_string(line))
		authorize(config, json_string_value(line));
	config->login = login ? strdup(login) : NULL;
	config->machine = machine ? strdup(machine) : NULL;
	config->env = venv__json_strv(json, "env");
	return 0;
}

static void name_address(const struct sockaddr_storage *address, char text[INET6_ADDRSTRLEN],
			 int *port)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	(void)strncpy(text, "127.0.0.1", INET6_ADDRSTRLEN);
	*port = 22;
	if (address->ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
		*port = ntohs(v4->sin_port);
	} else if (address->ss_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
		*port = ntohs(v6->sin6_port);
	}
}

/* Programs look at these to know that they run in an ssh session. */
static void name_connection(struct sess *sess)
{
	struct sockaddr_storage peer = { 0 }, own = { 0 };
	socklen_t n = sizeof(peer), m = sizeof(own);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	int from_port, to_port;

	if (getpeername(sess->fd, (struct sockaddr *)&peer, &n) < 0)
		peer.ss_family = AF_UNSPEC;
	if (getsockname(sess->fd, (struct sockaddr *)&own, &m) < 0)
		own.ss_family = AF_UNSPEC;
	sess->tcp = peer.ss_family == AF_INET || peer.ss_family == AF_INET6;
	name_address(&peer, from, &from_port);
	name_address(&own, to, &to_port);
	if (asprintf(&sess->client, "SSH_CLIENT=%s %d %d", from, from_port, to_port) < 0)
		sess->client = NULL;
	if (asprintf(&sess->connection, "SSH_CONNECTION=%s %d %s %d", from, from_port, to,
		     to_port) < 0)
		sess->connection = NULL;
}

/* The session owns the host key afterwards. */
static int accept_session(struct sess *sess)
{
	ssh_bind bind = ssh_bind_new();
	bool process_config = false;
	int r, one = 1;

	sess->session = ssh_new();
	if (!bind || !sess->session)
		return -1;
	(void)fcntl(sess->fd, F_SETFL, fcntl(sess->fd, F_GETFL) | O_NONBLOCK);
	(void)fcntl(sess->fd, F_SETFD, FD_CLOEXEC);
	if (sess->tcp)
		(void)setsockopt(sess->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &process_config);
	(void)ssh_bind_options_set(bind, SSH_BIND_OPTIONS_KEY_EXCHANGE, KEX_METHODS);
	(void)ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, sess->config.host_key);
	r = ssh_bind_accept_fd(bind, sess->session, sess->fd);
	ssh_bind_free(bind);
	return r == SSH_OK ? 0 : -1;
}

static int set_up(struct sess *sess)
{
	_cleanup_json_ json_t *config = NULL;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)OPENSSL_init_crypto(CRYPTO_QUICK_START, NULL);
	config = read_config();
	if (!config || use_config(&sess->config, config) < 0)
		return fail("the configuration cannot be used");
	sess->fd = SESS_CLIENT_FD;
	name_connection(sess);
	(void)fcntl(SESS_KEEPER_FD, F_SETFD, FD_CLOEXEC);
	if (keeper_init(&sess->keeper, SESS_KEEPER_FD) < 0)
		return fail("the keeper does not answer");
	if (accept_session(sess) < 0)
		return fail("cannot start the session");
	if (venv__confine(0) < 0)
		return fail("cannot give up its rights");
	return 0;
}

int main(void)
{
	static struct sess sess;

	if (set_up(&sess) != 0)
		return 1;
	(void)sess_serve(&sess);
	ssh_disconnect(sess.session);
	return 0;
}
