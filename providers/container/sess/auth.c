/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in: the holder of one of the authorized keys. The key stands for the owner of the
 * machine, so any user name is accepted with it; what runs, runs as that user of the machine (an
 * unknown one fails then, by name). No other method exists.
 */
#include <string.h>

#include "sess.h"

enum { ATTEMPTS_MAX = 10, USER_MAX = 256 };

static bool user_ok(const char *user)
{
	_cleanup_json_ json_t *utf8 = json_string(user);

	if (!utf8 || !*user || strlen(user) > USER_MAX)
		return false;
	for (; *user; user++)
		if ((unsigned char)*user < 0x20 || *user == 0x7f || *user == '/' || *user == ':')
			return false;
	return true;
}

static int deny(struct sess *sess)
{
	if (++sess->attempts > ATTEMPTS_MAX)
		sess->broken = true;
	return SSH_AUTH_DENIED;
}

static int on_none(ssh_session session, const char *user, void *data)
{
	(void)session;
	(void)user;
	return deny(data);
}

static void on_login_told(void *user, struct keeper_reply *reply)
{
	(void)user;
	(void)reply;
}

static int on_publickey(ssh_session session, const char *user, struct ssh_key_struct *key,
			char state, void *data)
{
	struct sess *sess = data;
	bool known = false;

	(void)session;
	for (size_t i = 0; i < sess->config.n_authorized; i++)
		known |= ssh_key_cmp(key, sess->config.authorized[i], SSH_KEY_CMP_PUBLIC) == 0;
	if (!known || !user_ok(user) || sess->authenticated)
		return deny(sess);
	if (state == SSH_PUBLICKEY_STATE_NONE) /* would this key do? */
		return ++sess->attempts > ATTEMPTS_MAX ? deny(sess) : SSH_AUTH_SUCCESS;
	if (state != SSH_PUBLICKEY_STATE_VALID)
		return deny(sess);
	free(sess->user);
	sess->user = strdup(user);
	if (!sess->user)
		return deny(sess);
	sess->authenticated = true;
	/* it lets only so many wait for this */
	(void)keeper_ask(&sess->keeper, json_pack("{s:s}", "op", "login"), NULL, 0, on_login_told,
			 sess);
	return SSH_AUTH_SUCCESS;
}

static ssh_channel on_session(ssh_session session, void *data)
{
	struct sess *sess = data;
	struct chan *chan;

	if (!sess->authenticated || sess->n_channels >= CHANNELS_MAX)
		return NULL;
	chan = chan_new(sess, CHAN_SESSION, ssh_channel_new(session));
	if (!chan)
		return NULL;
	if (!chan->channel || chan_attach(chan) < 0) {
		chan_free(chan);
		return NULL;
	}
	return chan->channel;
}

void auth_callbacks(struct sess *sess)
{
	sess->server_callbacks = (struct ssh_server_callbacks_struct){
		.userdata = sess,
		.auth_none_function = on_none,
		.auth_pubkey_function = on_publickey,
		.channel_open_request_session_function = on_session,
	};
	ssh_callbacks_init(&sess->server_callbacks);
	sess->callbacks = (struct ssh_callbacks_struct){
		.userdata = sess,
		.global_request_function = forward_global,
	};
	ssh_callbacks_init(&sess->callbacks);
	(void)ssh_set_server_callbacks(sess->session, &sess->server_callbacks);
	(void)ssh_set_callbacks(sess->session, &sess->callbacks);
	ssh_set_message_callback(sess->session, forward_message, sess);
	ssh_set_auth_methods(sess->session, SSH_AUTH_METHOD_PUBLICKEY);
}
