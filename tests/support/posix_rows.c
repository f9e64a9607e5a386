/* SPDX-License-Identifier: Apache-2.0 */
/* What POSIX, or Linux where it is silent, says of files: one row a rule. The language: posix_steps.c. */
#include "posix_files.h"

/* clang-format off */
const struct posix_row posix_rows[] = {
	/* ---- open ---- */
	{ "open: makes a file with the mode", "open f w|creat 640; mode f = 640; type f = file; size f = 0; links f = 1", 0, 0 },
	{ "open: O_EXCL of what is there", "touch f; mkdir d; open f w|creat|excl = EEXIST; open d w|creat|excl = EEXIST", 0, 0 },
	{ "open: O_EXCL follows no link", "symlink none s; open s w|creat|excl = EEXIST; list . = s", 0, 0 },
	{ "open: O_CREAT through a link that dangles", "symlink none s; open s w|creat; type none = file; type s = link", 0, 0 },
	{ "open: what is not there", "open none r = ENOENT; open none/f w|creat = ENOENT; open '' r = ENOENT", 0, 0 },
	{ "open: a file is no directory", "touch f; open f/x r = ENOTDIR; open f/x w|creat = ENOTDIR; open f r|directory = ENOTDIR; open f/ r = ENOTDIR; open f/. r = ENOTDIR", 0, 0 },
	{ "open: a directory is not written", "mkdir d; open d w = EISDIR; open d rw = EISDIR; open d r|trunc = EISDIR; open d r|creat = EISDIR; open d r; open d r|directory; open d/ r", 0, 0 },
	{ "open: a new name with a slash behind", "open new/ w|creat = EISDIR; list . = none", 0, 0 },
	{ "open: O_NOFOLLOW", "touch f; symlink f s; open s r|nofollow = ELOOP; open s r|nofollow|path; open f r|nofollow", 0, 0 },
	{ "open: links in a circle", "symlink a b; symlink b a; open a r = ELOOP; stat b = ELOOP; open a/x r = ELOOP; touch a = ELOOP; list . = a,b", 0, 0 },
	{ "open: O_TRUNC", "touch f; write f hello; open f w|trunc; size f = 0", 0, 0 },
	{ "open: O_APPEND", "touch f; append f one; append f two; read f = onetwo", 0, 0 },
	{ "open: a write in the beginning leaves the rest", "touch f; write f hello; write f J; read f = Jello", 0, 0 },
	{ "open: a pipe", "mkfifo p 622; mode p = 622; type p = fifo; open p w|nonblock = ENXIO; open p r|nonblock; mkfifo p = EEXIST", 0, 0 },
	{ "open: a socket", "bind s; type s = socket; open s r = ENXIO; bind s = EADDRINUSE; unlink s; list . = none", 0, 0 },

	/* ---- names that are too long ---- */
	{ "name: 255 bytes", "touch {255}; stat {255}; rename {255} f; link f {255}; links f = 2; unlink {255}; mkdir {255}; rmdir {255}; symlink f {255}; read {255} = ''; mkfifo {254}", 0, 0 },
	{ "name: 256 bytes", "touch f; touch {256} = ENAMETOOLONG; open {256} r = ENAMETOOLONG; mkdir {256} = ENAMETOOLONG; stat {256} = ENAMETOOLONG; unlink {256} = ENAMETOOLONG; rmdir {256} = ENAMETOOLONG; mkfifo {256} = ENAMETOOLONG", 0, 0 },
	{ "name: 256 bytes as the second", "touch f; rename f {256} = ENAMETOOLONG; link f {256} = ENAMETOOLONG; symlink f {256} = ENAMETOOLONG; rename {256} f = ENAMETOOLONG; exchange f {256} = ENAMETOOLONG; list . = f", 0, 0 },
	{ "name: a path of 4096 bytes", "stat {4096} = ENAMETOOLONG; mkdir {4096} = ENAMETOOLONG", 0, 0 },
	{ "name: any bytes", "touch \001\002\377\\*?\"'; list . = \001\002\377\\*?\"'; touch ..x; stat ..x; touch ...; stat ...", 0, 0 },

	/* ---- directories ---- */
	{ "mkdir: the mode", "mkdir d 750; mode d = 750; type d = directory; list d = none", 0, 0 },
	{ "mkdir: what is there", "touch f; symlink none s; mkdir d; mkdir f = EEXIST; mkdir s = EEXIST; mkdir d = EEXIST; mkdir d/. = EEXIST; mkdir d/.. = EEXIST; mkdir . = EEXIST", 0, 0 },
	{ "mkdir: where nothing is", "touch f; mkdir none/d = ENOENT; mkdir f/d = ENOTDIR; mkdir '' = ENOENT", 0, 0 },
	{ "mkdir: a slash behind", "mkdir d/; type d = directory; rmdir d/; list . = none", 0, 0 },
	{ "rmdir: not when something is in it", "mkdir d; touch d/f; rmdir d = ENOTEMPTY; unlink d/f; rmdir d; stat d = ENOENT", 0, 0 },
	{ "rmdir: dots", "mkdir d; mkdir d/e; rmdir d/e/. = EINVAL; rmdir d/e/.. = ENOTEMPTY; rmdir . = EINVAL", 0, 0 },
	{ "rmdir: no directory", "touch f; mkdir d; symlink d s; mkfifo p; rmdir f = ENOTDIR; rmdir s = ENOTDIR; rmdir s/ = ENOTDIR; rmdir p = ENOTDIR; rmdir none = ENOENT; rmdir f/x = ENOTDIR", 0, 0 },
	{ "list: no directory", "touch f; list f = ENOTDIR; list none = ENOENT", 0, 0 },
	{ "list: all kinds", "touch f; mkdir d; symlink f s; mkfifo p; bind k; list . = d,f,k,p,s", 0, 0 },
	{ "directory: read as a file", "mkdir d; read d = EISDIR", 0, 0 },

	/* ---- unlink and link ---- */
	{ "unlink: no file", "mkdir d; touch f; unlink d = EISDIR; unlink d/ = EISDIR; unlink d/.. = EISDIR; unlink none = ENOENT; unlink f/x = ENOTDIR; unlink f/ = ENOTDIR; unlink '' = ENOENT; list . = d,f", 0, 0 },
	{ "unlink: the link, not what it names", "touch f; symlink f s; unlink s; list . = f; symlink none s; unlink s; list . = f", 0, 0 },
	{ "link: counted", "touch f; link f g; links f = 2; same f g = yes; link g h; links f = 3; unlink f; links h = 2; unlink g; links h = 1", 0, 0 },
	{ "link: one file by all its names", "touch f; link f g; write f text; read g = text; chmod g 600; mode f = 600; truncate g 2; size f = 2; times f 5 6; mtime g = 6.000000000", 0, 0 },
	{ "link: into another directory", "mkdir d; touch f; link f d/f; links f = 2; unlink f; links d/f = 1; rmdir d = ENOTEMPTY", 0, 0 },
	{ "link: refused", "touch f; touch g; mkdir d; link f g = EEXIST; link d h = EPERM; link none h = ENOENT; link f none/h = ENOENT; link f g/h = ENOTDIR; link f d = EEXIST; link f h/ = ENOENT", 0, 0 },
	{ "link: to a symbolic link itself", "touch f; symlink f s; link s t; type t = link; same s t = yes; links s = 2; links f = 1", 0, 0 },
	{ "link: to a pipe and a socket", "mkfifo p; link p q; links q = 2; type q = fifo; bind s; link s t; type t = socket", 0, 0 },

	/* ---- symbolic links ---- */
	{ "symlink: says what it was given", "symlink some/where s; readlink s = some/where; type s = link; size s = 10; stat s = ENOENT; mode s = 777", 0, 0 },
	{ "symlink: what is there", "touch f; mkdir d; symlink x f = EEXIST; symlink x d = EEXIST; symlink x s; symlink y s = EEXIST; readlink s = x", 0, 0 },
	{ "symlink: refused", "touch f; symlink '' s = ENOENT; symlink x none/s = ENOENT; symlink x f/s = ENOTDIR; symlink x s/ = ENOENT", 0, 0 },
	{ "symlink: the longest", "symlink {4095} s; size s = 4095; stat s = ENAMETOOLONG; symlink {4096} t = ENAMETOOLONG; unlink s", 0, 0 },
	{ "symlink: through directories", "mkdir d; symlink d s; touch s/f; list d = f; list s = f; symlink ../f d/up; touch f; same d/../f f = yes; stat d/up; unlink s/f; rename d e; stat s = ENOENT", 0, 0 },
	{ "readlink: no link", "touch f; mkdir d; readlink f = EINVAL; readlink d = EINVAL; readlink none = ENOENT; readlink f/x = ENOTDIR", 0, 0 },
	{ "symlink: replaced by another", "symlink one s; readlink s = one; unlink s; symlink two s; readlink s = two; symlink three t; rename t s; readlink s = three", 0, 0 },

	/* ---- rename ---- */
	{ "rename: a file", "touch f; write f text; rename f g; list . = g; read g = text", 0, 0 },
	{ "rename: to itself, and to another name of the same", "touch f; rename f f; link f g; rename f g; list . = f,g; links f = 2", 0, 0 },
	{ "rename: over a file", "touch f; touch g; link g h; write f new; rename f g; list . = g,h; read g = new; links h = 1", 0, 0 },
	{ "rename: a file over a directory", "touch f; mkdir d; rename f d = EISDIR; rename f d/ = ENOTDIR; list . = d,f", 0, 0 },
	{ "rename: a directory over a file", "touch f; mkdir d; rename d f = ENOTDIR; list . = d,f", 0, 0 },
	{ "rename: a directory over an empty one", "mkdir d; touch d/f; mkdir e; rename d e; list . = e; list e = f", 0, 0 },
	{ "rename: a directory over one that is not empty", "mkdir d; mkdir e; touch e/f; rename d e = ENOTEMPTY; list . = d,e; list e = f", 0, 0 },
	{ "rename: a directory into itself", "mkdir d; mkdir d/e; rename d d/new = EINVAL; rename d d/e = EINVAL; rename d d/e/new = EINVAL; rename d/e d = ENOTEMPTY", 0, 0 },
	{ "rename: dots", "mkdir d; touch f; rename . x = EBUSY; rename d/. x = EBUSY; rename d/.. x = EBUSY; rename f d/. = EBUSY; rename f .. = EBUSY; list . = d,f", 0, 0 },
	{ "rename: what is not there", "touch f; rename none g = ENOENT; rename f none/g = ENOENT; rename f f/g = ENOTDIR; rename f/x g = ENOTDIR; rename '' g = ENOENT; rename f '' = ENOENT; list . = f", 0, 0 },
	{ "rename: a slash behind", "touch f; rename f g/ = ENOTDIR; rename f/ g = ENOTDIR; mkdir d; rename d e/; rename e/ d; list . = d,f", 0, 0 },
	{ "rename: between directories", "mkdir a; mkdir b; mkdir a/s; touch a/f; rename a/f b/f; list b = f; rename a/s b/s; touch b/s/../x; list b = f,s,x; list a = none", 0, 0 },
	{ "rename: a link, not what it names", "touch f; symlink f s; rename s t; type t = link; readlink t = f; touch g; rename g t; type t = file; size f = 0", 0, 0 },
	{ "rename: pipes and sockets", "mkfifo p; bind s; rename p q; rename s q; type q = socket; list . = q", 0, 0 },
	{ "rename: what is known of a directory moves with it", "mkdir d; mkdir d/e; touch d/e/f; write d/e/f one; rename d g; read g/e/f = one; stat d/e/f = ENOENT; mkdir d; mkdir d/e; touch d/e/f; write d/e/f two; read g/e/f = one; read d/e/f = two", 0, 0 },
	{ "noreplace", "touch f; touch g; noreplace f g = EEXIST; noreplace f h; list . = g,h; mkdir d; noreplace h d = EEXIST; symlink none s; noreplace h s = EEXIST; noreplace none x = ENOENT", 0, 0 },
	{ "exchange", "touch f; write f one; touch g; write g two; exchange f g; read f = two; read g = one; exchange f none = ENOENT; exchange none f = ENOENT", 0, 0 },
	{ "exchange: a file and a directory", "touch f; mkdir d; touch d/x; exchange f d; type f = directory; type d = file; list f = x; mkdir e; touch e/y; exchange e/y f; list e/y = x; type f = file", 0, 0 },
	{ "exchange: a directory and what is in it", "mkdir d; mkdir d/e; exchange d d/e = EINVAL; exchange d/e d = EINVAL; exchange d d", 0, 0 },

	/* ---- sizes ---- */
	{ "truncate: up and down", "touch f; write f hello; truncate f 2; read f = he; truncate f 5; read f = he000; size f = 5; truncate f 0; size f = 0", 0, 0 },
	{ "truncate: refused", "touch f; mkdir d; mkfifo p; truncate f -1 = EINVAL; truncate d 0 = EISDIR; truncate none 0 = ENOENT; truncate f/x 0 = ENOTDIR; truncate p 0 = EINVAL", 0, 0 },
	{ "truncate: through a link", "touch f; symlink f s; truncate s 9; size f = 9; type s = link", 0, 0 },
	{ "ftruncate: refused", "touch f; ftruncate f 0 r = EINVAL; ftruncate f -1 rw = EINVAL; ftruncate f 7 w; size f = 7", 0, 0 },
	{ "truncate: beyond 4 GiB", "touch f; truncate f 0x140000000; size f = 5368709120; append f end; size f = 5368709123", 0, 0 },
	{ "allocate", "touch f; allocate f 0 8192; size f = 8192; allocate f 8192 1; size f = 8193; allocate f 0 0 = EINVAL; allocate f -1 1 = EINVAL", 0, 0 },

	/* ---- modes ---- */
	{ "chmod", "touch f; mkdir d; chmod f 0; mode f = 0; chmod f 777; mode f = 777; chmod d 1751; mode d = 1751; chmod none 600 = ENOENT; chmod f/x 600 = ENOTDIR", 0, 0 },
	{ "chmod: through a link", "touch f; symlink f s; chmod s 612; mode f = 612; symlink none t; chmod t 600 = ENOENT", 0, 0 },
	{ "chmod: pipes and sockets", "mkfifo p; bind s; chmod p 640; chmod s 604; mode p = 640; mode s = 604; type p = fifo; type s = socket", 0, 0 },
	{ "chmod: an open file is not asked again", "touch f 600; chmod f 400; read f = ''", 0, 0 },
	{ "sticky bit", "mkdir d; chmod d 1777; mode d = 1777; touch f; chmod f 1644; mode f = 1644", 0, 0 },

	/* ---- what others may ---- */
	{ "others: a file that is not theirs", "touch f 600; @open f r = EACCES; @open f w = EACCES; @truncate f 0 = EACCES; @access f r = EACCES; @stat f; chmod f 604; @open f r; @access f r; @open f rw = EACCES; @access f rw = EACCES", POSIX_ROOT, 0 },
	{ "others: what they may write", "touch f 666; @write f text; read f = text; @truncate f 1; size f = 1; @open f w|trunc; size f = 0", POSIX_ROOT, 0 },
	{ "others: a directory without w", "touch f 666; mkdir e; @touch new = EACCES; @mkdir new = EACCES; @symlink x new = EACCES; @mkfifo new = EACCES; @unlink f = EACCES; @rmdir e = EACCES; @rename f g = EACCES; list . = e,f", POSIX_ROOT, 0 },
	{ "others: a directory without x", "mkdir d; touch d/f; chmod d 776; @list d = f; @stat d/f = EACCES; @open d/f r = EACCES; @unlink d/f = EACCES; @touch d/new = EACCES", POSIX_ROOT, 0 },
	{ "others: a directory without r", "mkdir d 711; touch d/f; @list d = EACCES; @stat d/f; @open d/f r", POSIX_ROOT, 0 },
	{ "others: chmod and chown", "touch f 666; @chmod f 777 = EPERM; @chown f 4321 4321 = EPERM; @chown f -1 4321 = EPERM; mode f = 666", POSIX_ROOT, 0 },
	{ "others: times", "touch f 644; @times f now now = EACCES; @times f 1 1 = EPERM; chmod f 666; @times f now now; @times f omit omit; @times f now omit = EPERM; @times f 5 5 = EPERM", POSIX_ROOT, 0 },
	{ "others: O_NOATIME", "touch f 666; @open f r|noatime = EPERM; open f r|noatime", POSIX_ROOT, 0 },
	{ "others: in a sticky directory", "mkdir t; chmod t 1777; touch t/f 666; mkdir t/d 777; @unlink t/f = EPERM; @rename t/f t/g = EPERM; @rmdir t/d = EPERM; @touch t/mine 644; @rename t/mine t/f = EPERM; list t = d,f,mine", POSIX_ROOT, 0 },
	{ "others: their own in a sticky directory", "mkdir t; chmod t 1777; @touch t/mine; uid t/mine = 4321; @rename t/mine t/new; @unlink t/new; list t = none", POSIX_CHOWN, 0 },
	{ "others: not root's way", "touch f 0; read f = ''; write f x; @read f = EACCES", POSIX_ROOT, 0 },
	{ "others: extended attributes", "touch f 644; @setxattr f user.a x = EACCES; setxattr f user.a x; @getxattr f user.a = x; chmod f 600; @getxattr f user.a = EACCES", POSIX_ROOT | POSIX_XATTR, 0 },

	/* ---- owners ---- */
	{ "chown", "touch f; chown f 4321 4322; uid f = 4321; gid f = 4322; chown f -1 -1; uid f = 4321; chown f -1 7; uid f = 4321; gid f = 7; chown none 0 0 = ENOENT", POSIX_CHOWN, 0 },
	{ "chown: links", "touch f; symlink f s; lchown s 4321 4322; uid s = 4321; uid f = 0; chown s 4322 -1; uid f = 4322; uid s = 4321", POSIX_CHOWN, 0 },
	{ "chown: by the owner", "touch f; chown f 4321 0; @chown f -1 4321; gid f = 4321; @chown f -1 0 = EPERM; @chown f 0 -1 = EPERM; @chown f 4321 4321; @chmod f 600; mode f = 600", POSIX_CHOWN, 0 },
	{ "chown: new files are their maker's", "chmod . 777; @touch f; @mkdir d; @symlink x s; @mkfifo p; uid f = 4321; gid d = 4321; uid s = 4321; uid p = 4321", POSIX_CHOWN, 0 },
	/* Owners are mapped: all files are the machine's user, who may be called by its own id or root's. docs/man/venv.yml.scd */
	{ "chown: owners are mapped", "touch f; chown f 4321 -1 = EPERM; chown f -1 4321 = EPERM; chown f 0 0; chmod . 777; @touch g; same f g = no; uid f = 0; uid g = 0; chown g -1 -1", POSIX_ROOT, POSIX_CHOWN },

	/* ---- set-id bits ---- */
	{ "set-id: kept by chmod", "touch f; chmod f 6755; mode f = 6755; mkdir d; chmod d 2775; mode d = 2775", POSIX_SETID, 0 },
	{ "set-id: cleared by a write of another", "touch f 666; chmod f 6777; @write f x; mode f = 777; chmod f 6777; @append f x; mode f = 777", POSIX_SETID | POSIX_ROOT, 0 },
	{ "set-id: cleared by a truncation of another", "touch f; write f text; chmod f 6777; @truncate f 1; mode f = 777; chmod f 6777; @open f w|trunc; mode f = 777", POSIX_SETID | POSIX_ROOT, 0 },
	{ "set-id: cleared by chown", "touch f; chmod f 6755; chown f 4321 4321; mode f = 755", POSIX_SETID | POSIX_CHOWN, 0 },
	{ "set-id: cleared for who is not in the group", "touch f; chown f 4321 4322; @chmod f 2755; mode f = 755", POSIX_SETID | POSIX_CHOWN, 0 },
	{ "set-id: a directory gives its group", "mkdir d; chown d 0 4322; chmod d 2777; touch d/f; gid d/f = 4322; mkdir d/e; mode d/e = 2755; gid d/e = 4322; @touch d/g; gid d/g = 4322; uid d/g = 4321", POSIX_SETID | POSIX_CHOWN, 0 },
	/* They would be the host's user's, on the host: docs/ATTACKS.md, docs/man/venv.yml.scd */
	{ "set-id: never on the host", "touch f; chmod f 6755; mode f = 755; open g w|creat 6711; mode g = 711; mkdir d 2775; mode d = 775; chmod d 6777; mode d = 777", 0, POSIX_SETID },

	/* ---- times ---- */
	{ "times", "touch f; times f 1 2; atime f = 1.000000000; mtime f = 2.000000000; times f 5.7 9.999999999; atime f = 5.000000007; mtime f = 9.999999999", 0, 0 },
	{ "times: left as they are", "touch f; times f 5 6; times f omit 9; atime f = 5.000000000; mtime f = 9.000000000; times f 7 omit; atime f = 7.000000000; mtime f = 9.000000000; times f omit omit; mtime f = 9.000000000", 0, 0 },
	{ "times: now", "touch f; times f 5 6; mark f; times f now now; changed f = mc; times f 5 now; atime f = 5.000000000", 0, 0 },
	{ "times: of a link itself", "touch f; times f 1 1; symlink f s; times s 9 9; mtime s = 9.000000000; mtime f = 1.000000000", 0, 0 },
	{ "times: after 2038", "touch f; times f 4294967296 8589934592; atime f = 4294967296.000000000; mtime f = 8589934592.000000000", 0, 0 },
	{ "times: of directories and pipes", "mkdir d; mkfifo p; times d 3 4; times p 3 4; mtime d = 4.000000000; mtime p = 4.000000000; times none 1 1 = ENOENT", 0, 0 },
	{ "changed: by a write", "touch f; mark f; write f x; changed f = mc; mark f; append f x; changed f = mc; mark f; read f = xx; changed f = none", 0, 0 },
	{ "changed: by a size", "touch f; write f text; mark f; truncate f 1; changed f = mc; mark f; open f w|trunc; changed f = mc; mark f; allocate f 0 100; changed f = mc; mark f; ftruncate f 7 w; changed f = mc", 0, 0 },
	{ "changed: by attributes", "touch f; mark f; chmod f 600; changed f = c; mark f; times f omit 5; changed f = c; mark f; chmod f 600; changed f = c", 0, 0 },
	/* where owners are mapped nothing changes on the host */
	{ "changed: by chown", "touch f; mark f; chown f -1 0; changed f = c", POSIX_CHOWN, 0 },
	{ "changed: by links", "touch f; mark f; link f g; changed f = c; mark f; unlink g; changed f = c", 0, 0 },
	{ "changed: by nothing", "touch f; write f x; mark f; open f rw; stat f; access f r; open f rw|creat; changed f = none; mark .; list . = f; touch f; changed . = none", 0, 0 },
	{ "changed: a directory by what is made in it", "mkdir d; mark d; touch d/f; changed d = mc; mark d; mkdir d/e; changed d = mc; mark d; symlink x d/s; changed d = mc; mark d; link d/f d/g; changed d = mc; mark d; mkfifo d/p; changed d = mc", 0, 0 },
	{ "changed: a directory by what goes", "mkdir d; touch d/f; mkdir d/e; mkdir z; mark d; rename d/f d/g; changed d = mc; mark d; rename d/g z/g; changed d = mc; mark d; rename z/g d/g; changed d = mc; mark d; unlink d/g; changed d = mc; mark d; rmdir d/e; changed d = mc", 0, 0 },
	{ "changed: not what fails", "mkdir d; mkdir d/e; touch d/f; mark d; mkdir d/e = EEXIST; rmdir d = ENOTEMPTY; rename d/e d/f = ENOTDIR; link d/f d/e = EEXIST; changed d = none", 0, 0 },

	/* ---- device nodes: docs/man/venv.yml.scd ---- */
	{ "devices", "mkdev c char; type c = device; mkdev b block; type b = device; mkdev c char = EEXIST", POSIX_DEVICE, 0 },
	{ "devices: none", "mkdev c char = EPERM; mkdev b block = EPERM; list . = none", POSIX_ROOT, POSIX_DEVICE },

	/* ---- extended attributes ---- */
	{ "attributes", "touch f; setxattr f user.a one; getxattr f user.a = one; setxattr f user.a two; getxattr f user.a = two; removexattr f user.a; getxattr f user.a = ENODATA; removexattr f user.a = ENODATA", POSIX_XATTR, 0 },
	{ "attributes: create and replace", "touch f; setxattr f user.a x replace = ENODATA; setxattr f user.a x create; setxattr f user.a y create = EEXIST; setxattr f user.a z replace; getxattr f user.a = z", POSIX_XATTR, 0 },
	{ "attributes: of directories, not of links", "mkdir d; setxattr d user.a x; getxattr d user.a = x; symlink d s; setxattr s user.a x = EPERM; getxattr s user.a = ENODATA; setxattr none user.a x = ENOENT", POSIX_XATTR, 0 },
	{ "attributes: long", "touch f; setxattr f user.a {2000}; getxattr f user.a = {2000}; setxattr f user.{300} x = ERANGE; setxattr f '' x = ERANGE", POSIX_XATTR, 0 },
	{ "attributes: change the file", "touch f; mark f; setxattr f user.a x; changed f = c; mark f; removexattr f user.a; changed f = c", POSIX_XATTR, 0 },
	{ "attributes: not of no kind", "touch f; setxattr f nokind.a x = EOPNOTSUPP; getxattr f nokind.a = EOPNOTSUPP", POSIX_XATTR, 0 },
};
/* clang-format on */

const size_t posix_n_rows = sizeof(posix_rows) / sizeof(*posix_rows);
