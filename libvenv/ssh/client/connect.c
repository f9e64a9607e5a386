/* SPDX-License-Identifier: Apache-2.0 */
/* From a connected socket to a running command: keys, host key, login, channel, requests. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "remote.h"

bool remote_wait(struct remote *remote)
{
	struct pollfd fds[2] = { { .fd = CLIENT_SERVER_FD, .events = POLLIN },
				 { .fd = CLIENT_RESULT_FD, .events = 0 } };
	int one = 1;

	if (!venv__flow_flushed(remote->session))
		fds[0].events |= POLLOUT;
	if (remote->tcp)
		(void)setsockopt(CLIENT_SERVER_FD, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	if (poll(fds, 2, -1) < 0 && errno != EINTR)
		return false;
	if (fds[1].revents)
		remote->left = true;
	return !remote->left;
}

int remote_fail(struct remote *remote, const char *what, venv_error **err)
{
	const char *reason = remote->session ? ssh_get_error(remote->session) : "";

	if (remote->left)
		return venv__fail(err, VENV_ERR_CANCELLED, "cancelled");
	return venv__fail(err, VENV_ERR_NETWORK, "ssh to '%s': %s%s%s", remote->alias, what,
			  *reason ? ": " : "", reason);
}

/* Repeat a call of libssh until it is done. */
#define STEP(remote, r, call)                                                                      \
	while (((r) = (call)) == SSH_AGAIN && remote_wait(remote))                                 \
	continue

/* Of a machine that is met for the first time. */
static const char any_host_key[] =
	"ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"
	"rsa-sha2-256,ssh-rsa";

static int set_options(const struct remote *remote)
{
	bool no = false;
	int fd = CLIENT_SERVER_FD;
	long timeout = 30;
	/* names of files are set so that libssh looks for none, and asks nobody where home is */
	const struct {
		enum ssh_options_e option;
		const void *value;
	} options[] = {
		{ SSH_OPTIONS_PROCESS_CONFIG, &no },
		{ SSH_OPTIONS_SSH_DIR, "/nonexistent" },
		{ SSH_OPTIONS_KNOWNHOSTS, "/dev/null" },
		{ SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null" },
		{ SSH_OPTIONS_HOST, "machine" },
		{ SSH_OPTIONS_USER, remote->user },
		{ SSH_OPTIONS_FD, &fd },
		{ SSH_OPTIONS_TIMEOUT, &timeout },
		{ SSH_OPTIONS_HOSTKEYS, remote->host_key ? "ssh-ed25519" : any_host_key },
		{ SSH_OPTIONS_KEY_EXCHANGE,
		  "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,"
		  "diffie-hellman-group16-sha512,diffie-hellman-group14-sha256" },
		{ SSH_OPTIONS_CIPHERS_C_S, "aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
					   "chacha20-poly1305@openssh.com,aes256-ctr" },
		{ SSH_OPTIONS_CIPHERS_S_C, "aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
					   "chacha20-poly1305@openssh.com,aes256-ctr" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (ssh_options_set(remote->session, options[i].option, options[i].value) < 0)
			return -1;
	return 0;
}

static int check_host_key(struct remote *remote, venv_error **err)
{
	_cleanup_free_ char *wanted = strdup(remote->host_key);
	char *rest = wanted, *type, *blob, *got = NULL;
	ssh_key key = NULL;
	bool same;
	int r;

	if (!wanted)
		return venv__fail_nomem(err);
	type = strsep(&rest, " \t");
	blob = strsep(&rest, " \t\n");
	if (ssh_get_server_publickey(remote->session, &key) != SSH_OK)
		return remote_fail(remote, "no host key", err);
	same = blob && ssh_pki_export_pubkey_base64(key, &got) == SSH_OK &&
	       strcmp(got, blob) == 0 && strcmp(type, ssh_key_type_to_char(ssh_key_type(key))) == 0;
	ssh_key_free(key);
	ssh_string_free_char(got);
	if (same)
		return 0;
	r = venv__fail(err, VENV_ERR_DENIED,
		       "ssh to '%s': its host key is not the one that is pinned%s%s", remote->alias,
		       remote->host_key_path ? " in " : "",
		       remote->host_key_path ? remote->host_key_path : "");
	return venv__hint(r, err,
			  "something else may be answering in its place: see what listens there; "
			  "'venv reload' starts the machine with the pinned key again");
}

static int log_in(struct remote *remote, venv_error **err)
{
	ssh_key key = NULL;
	int r;

	if (ssh_pki_import_privkey_base64(remote->key, NULL, NULL, NULL, &key) != SSH_OK)
		return venv__fail(err, VENV_ERR_CORRUPT,
				  "ssh to '%s': the machine's private key cannot be read",
				  remote->alias);
	while ((r = ssh_userauth_publickey(remote->session, NULL, key)) == SSH_AUTH_AGAIN &&
	       remote_wait(remote))
		continue;
	ssh_key_free(key);
	if (r == SSH_AUTH_SUCCESS)
		return 0;
	if (remote->left || !ssh_is_connected(remote->session) || r == SSH_AUTH_ERROR)
		return remote_fail(remote, "login failed", err);
	r = venv__fail(err, VENV_ERR_DENIED, "ssh to '%s': it refused the key for user '%s'",
		       remote->alias, remote->user);
	return venv__hint(r, err,
			  "check 'user:' in venv.yml; inside a virtual machine, "
			  "~/.ssh/authorized_keys must hold the machine's key");
}

static int prepare(struct remote *remote)
{
	int one = 1;
	int type = 0;
	socklen_t n = sizeof(type);

	remote->session = ssh_new();
	if (!remote->session || set_options(remote) < 0)
		return -1;
	remote->tcp = getsockopt(CLIENT_SERVER_FD, SOL_SOCKET, SO_DOMAIN, &type, &n) == 0 &&
		      (type == AF_INET || type == AF_INET6);
	if (remote->tcp)
		(void)setsockopt(CLIENT_SERVER_FD, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	ssh_set_blocking(remote->session, 0);
	remote->session_callbacks = (struct ssh_callbacks_struct){ .userdata = remote };
	if (remote->agent)
		remote->session_callbacks.channel_open_request_auth_agent_function =
			remote_on_agent;
	ssh_callbacks_init(&remote->session_callbacks);
	return ssh_set_callbacks(remote->session, &remote->session_callbacks);
}

int remote_connect(struct remote *remote, venv_error **err)
{
	int r;

	if (prepare(remote) < 0)
		return remote_fail(remote, "cannot prepare", err);
	STEP(remote, r, ssh_connect(remote->session));
	if (r != SSH_OK)
		return remote_fail(remote, "cannot connect", err);
	r = remote->host_key ? check_host_key(remote, err) : 0;
	if (r == 0)
		r = log_in(remote, err);
	if (r < 0)
		return r;
	remote->channel = ssh_channel_new(remote->session);
	if (!remote->channel || remote_prepare_channel(remote) < 0)
		return venv__fail_nomem(err);
	if (remote->probe)
		return 0;
	STEP(remote, r, ssh_channel_open_session(remote->channel));
	return r == SSH_OK ? 0 : remote_fail(remote, "cannot open a session", err);
}

int remote_probe(struct remote *remote, venv_error **err)
{
	int r;

	STEP(remote, r,
	     ssh_channel_open_forward(remote->channel, "localhost", remote->probe, "127.0.0.1", 0));
	remote->status = 0;
	return r == SSH_OK ? 0 : remote_fail(remote, "nobody listens on the port", err);
}

/* A server may refuse a variable; that is not worth a failure. */
static void send_environment(struct remote *remote)
{
	for (char **p = remote->env; p && *p; p++) {
		char *value = strchr(*p, '=');
		int r;

		if (!value)
			continue;
		*value = '\0';
		STEP(remote, r, ssh_channel_request_env(remote->channel, *p, value + 1));
		*value = '=';
	}
}

int remote_start(struct remote *remote, venv_error **err)
{
	int r = SSH_OK;

	if (remote->agent)
		STEP(remote, r, ssh_channel_request_auth_agent(remote->channel));
	send_environment(remote);
	if (remote->tty)
		STEP(remote, r,
		     ssh_channel_request_pty_size(remote->channel, remote->term, remote->columns,
						  remote->rows));
	if (remote->tty && r != SSH_OK)
		return remote_fail(remote, "no terminal", err);
	if (remote->command)
		STEP(remote, r, ssh_channel_request_exec(remote->channel, remote->command));
	else
		STEP(remote, r, ssh_channel_request_shell(remote->channel));
	return r == SSH_OK ? 0 : remote_fail(remote, "cannot start the command", err);
}
