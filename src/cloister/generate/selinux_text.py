"""The fixed text of the SELinux module; ``@door`` and ``@module`` stand for its names."""

TYPE_ENFORCEMENT = """\
policy_module(@module, @version)

# What the front door may do. It reads the first bytes of each connection from the network, so
# the question behind each line is what the line gives to whoever has taken the door over.

########################################
#
# Booleans
#

## <desc>
##	<p>
##	Let the sockets on which the door listens be bound to any port. Otherwise
##	only ports labelled @{door}_port_t and those of web servers can be.
##	</p>
## </desc>
gen_tunable(@{door}_bind_any, false)

## <desc>
##	<p>
##	Let the door connect to any TCP port, and to virtual machines, whose ports
##	have no labels. Otherwise it connects to ports labelled
##	@{door}_port_t only. Unix sockets are the business of the interfaces.
##	</p>
## </desc>
gen_tunable(@{door}_connect_any, false)

## <desc>
##	<p>
##	Let the door be started as root and become another user by --user. With
##	User= in its unit, systemd has done that and this stays off.
##	</p>
## </desc>
gen_tunable(@{door}_change_user, false)

########################################
#
# Types
#

# Services behind the door.
attribute @{door}_backend_domain;

type @{door}_t;
type @{door}_exec_t;
init_daemon_domain(@{door}_t, @{door}_exec_t)

type @{door}_unit_t;
ifdef(`init_unit_file',`
	init_unit_file(@{door}_unit_t)
',`
	systemd_unit_file(@{door}_unit_t)
')

# Sockets on which the door listens, and their folder.
type @{door}_var_run_t;
ifdef(`files_runtime_file',`
	files_runtime_file(@{door}_var_run_t)
',`
	files_pid_file(@{door}_var_run_t)
')

# Hosts directories: folders named like hosts, with services' sockets in them.
type @{door}_hosts_t;
files_type(@{door}_hosts_t)

type @{door}_port_t;
corenet_port(@{door}_port_t)

########################################
#
# Listening
#

# systemd makes the sockets, and labels them as those of the program that it starts for them
# (systemd.socket(5), SELinuxContextFromNet=). So it is the door's type that asks for a port,
# though the door itself never binds.
init_named_socket_activation(@{door}_t, @{door}_var_run_t)

allow @{door}_t self:tcp_socket { accept getattr getopt ioctl read setopt shutdown write };
allow @{door}_t self:unix_stream_socket { accept getattr getopt ioctl read setopt shutdown write };
allow @{door}_t self:vsock_socket { accept getattr getopt ioctl read setopt shutdown write };
allow @{door}_t @{door}_var_run_t:dir search_dir_perms;

# Without corenet_tcp_bind_*(), which also give the capability to bind low ports: systemd has it.
gen_require(`
	attribute port_type;
	type http_port_t;
')
corenet_tcp_bind_generic_node(@{door}_t)
allow @{door}_t { http_port_t @{door}_port_t }:tcp_socket name_bind;

tunable_policy(`@{door}_bind_any',`
	allow @{door}_t port_type:tcp_socket name_bind;
')

########################################
#
# Connecting
#

# Unix sockets, in hosts directories and elsewhere.
allow @{door}_t self:unix_stream_socket { connect create };
allow @{door}_t @{door}_hosts_t:dir search_dir_perms;
# Which file system a host is on: the times of some prove nothing about what was replaced.
fs_getattr_all_fs(@{door}_t)
allow @{door}_t @{door}_hosts_t:file getattr;
allow @{door}_t @{door}_hosts_t:lnk_file read_lnk_file_perms;
allow @{door}_t @{door}_hosts_t:sock_file write_sock_file_perms;
files_search_runtime(@{door}_t)
files_search_var(@{door}_t)
stream_connect_pattern(@{door}_t, @{door}_var_run_t, @{door}_var_run_t, @{door}_backend_domain)

# A connection that is handed off becomes the backend's.
allow @{door}_backend_domain @{door}_t:fd use;
allow @{door}_backend_domain @{door}_t:tcp_socket
	{ getattr getopt ioctl read setopt shutdown write };
allow @{door}_backend_domain @{door}_t:unix_stream_socket
	{ getattr getopt ioctl read shutdown write };

# TCP.
allow @{door}_t self:tcp_socket { connect create };
allow @{door}_t @{door}_port_t:tcp_socket name_connect;

tunable_policy(`@{door}_connect_any',`
	allow @{door}_t port_type:tcp_socket name_connect;
	allow @{door}_t self:vsock_socket { connect create };
')

########################################
#
# Names
#

# The door asks name servers itself: resolv.conf(5) and hosts(5) are all that it reads, and
# watches, for they are replaced.
allow @{door}_t self:udp_socket { bind connect create getattr getopt ioctl read setopt write };
corenet_udp_bind_generic_node(@{door}_t)
corenet_tcp_connect_dns_port(@{door}_t)
sysnet_read_config(@{door}_t)
gen_require(`
	type etc_t, net_conf_t;
')
allow @{door}_t etc_t:dir { read watch };
allow @{door}_t net_conf_t:{ dir file } watch;

optional_policy(`
	gen_require(`
		type systemd_resolved_runtime_t;
	')

	allow @{door}_t systemd_resolved_runtime_t:dir { read watch };
	allow @{door}_t systemd_resolved_runtime_t:file watch;
')

########################################
#
# The process
#

allow @{door}_t self:fifo_file { getattr read write };
# It gives up its capabilities, and takes as many descriptors as it may.
allow @{door}_t self:process { getcap getsched setcap setrlimit };

# The keeper executes the door's program again, and no other, and stops what it started.
allow @{door}_t @{door}_exec_t:file execute_no_trans;
allow @{door}_t self:process { sigkill signal };
corecmd_search_bin(@{door}_t)

# How much of the CPUs is the door's, and whether it has a network.
kernel_read_network_state(@{door}_t)
fs_search_tmpfs(@{door}_t)
fs_read_cgroup_files(@{door}_t)

# sd_notify(3). Standard output, to the journal, is systemd's own socket.
allow @{door}_t self:unix_dgram_socket { connect create getopt setopt write };
init_dgram_send(@{door}_t)

tunable_policy(`@{door}_change_user',`
	allow @{door}_t self:capability { kill setgid setpcap setuid };
	files_read_etc_files(@{door}_t)
')

########################################
#
# Who uses the door, and whom it serves
#

optional_policy(`
	gen_require(`
		type httpd_t, httpd_runtime_t;
	')

	@{door}_stream_connect(httpd_t)
	@{door}_backend(httpd_t)
	@{door}_target(httpd_t, httpd_runtime_t)
')

optional_policy(`
	gen_require(`
		type phpfpm_t, phpfpm_runtime_t;
	')

	@{door}_target(phpfpm_t, phpfpm_runtime_t)
')

optional_policy(`
	gen_require(`
		type initrc_t;
	')

	# Services without a policy of their own.
	@{door}_stream_connect(initrc_t)
	@{door}_backend(initrc_t)
')
"""

FILE_CONTEXTS = """\
# /etc/systemd/system stands for /usr/lib/systemd/system in file_contexts.subs_dist(5).
/usr/lib/systemd/system/@module-[^/]*(/.*)?	gen_context(system_u:object_r:@{door}_unit_t,s0)
"""

INTERFACES = """\
## <summary>Cloister's front door: takes connections, relays each to its host's service.</summary>

########################################
## <summary>
##	Execute the door in its domain.
## </summary>
## <param name="domain">
##	<summary>
##	Domain allowed to transition.
##	</summary>
## </param>
#
interface(`@{door}_domtrans',`
	gen_require(`
		type @{door}_t, @{door}_exec_t;
	')

	corecmd_search_bin($1)
	domtrans_pattern($1, @{door}_exec_t, @{door}_t)
')

########################################
## <summary>
##	Connect to the door over its Unix sockets, as a web server in front of it does.
## </summary>
## <param name="domain">
##	<summary>
##	Domain allowed access.
##	</summary>
## </param>
#
interface(`@{door}_stream_connect',`
	gen_require(`
		type @{door}_t, @{door}_var_run_t;
	')

	files_search_runtime($1)
	stream_connect_pattern($1, @{door}_var_run_t, @{door}_var_run_t, @{door}_t)
')

########################################
## <summary>
##	Stand behind the door: have sockets in hosts directories, be connected to by the
##	door, and take connections that it hands off.
## </summary>
## <param name="domain">
##	<summary>
##	Domain of the service.
##	</summary>
## </param>
#
interface(`@{door}_backend',`
	gen_require(`
		attribute @{door}_backend_domain;
	')

	typeattribute $1 @{door}_backend_domain;
	@{door}_manage_hosts($1)
')

########################################
## <summary>
##	Be connected to by the door on sockets outside of its own folders.
## </summary>
## <param name="domain">
##	<summary>
##	Domain of the service.
##	</summary>
## </param>
## <param name="socket">
##	<summary>
##	Type of its socket's file, and of the folder that it is in.
##	</summary>
## </param>
#
interface(`@{door}_target',`
	gen_require(`
		type @{door}_t;
	')

	stream_connect_pattern(@{door}_t, $2, $2, $1)
')

########################################
## <summary>
##	Add and remove hosts, and sockets in their folders.
## </summary>
## <param name="domain">
##	<summary>
##	Domain allowed access.
##	</summary>
## </param>
#
interface(`@{door}_manage_hosts',`
	gen_require(`
		type @{door}_hosts_t;
	')

	files_search_var($1)
	manage_dirs_pattern($1, @{door}_hosts_t, @{door}_hosts_t)
	manage_files_pattern($1, @{door}_hosts_t, @{door}_hosts_t)
	manage_lnk_files_pattern($1, @{door}_hosts_t, @{door}_hosts_t)
	manage_sock_files_pattern($1, @{door}_hosts_t, @{door}_hosts_t)
')

########################################
## <summary>
##	Administer the door: see it, signal it, start and stop its units, manage its folders.
## </summary>
## <param name="domain">
##	<summary>
##	Domain allowed access.
##	</summary>
## </param>
## <param name="role">
##	<summary>
##	Role allowed access.
##	</summary>
## </param>
#
interface(`@{door}_admin',`
	gen_require(`
		type @{door}_t, @{door}_unit_t, @{door}_var_run_t;
		class service { reload start status stop };
	')

	ps_process_pattern($1, @{door}_t)
	allow $1 @{door}_t:process signal_perms;
	allow $1 @{door}_unit_t:service { reload start status stop };
	allow $1 @{door}_unit_t:file read_file_perms;
	files_search_runtime($1)
	admin_pattern($1, @{door}_var_run_t)
	@{door}_manage_hosts($1)
	allow $2 system_r;
	role_transition $2 @{door}_exec_t system_r;
')
"""
