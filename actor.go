package behalf

// Role is what a member of the console, or an administrator's key, may do.
type Role string

const (
	RoleOwner         Role = "owner"         // everything, other owners and their keys included
	RoleAdministrator Role = "administrator" // everything but owners and their keys
	RoleDeveloper     Role = "developer"     // profiles, sessions, connections; no keys, no people
	RoleViewer        Role = "viewer"        // reads; never a token
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool {
	switch r {
	case RoleOwner, RoleAdministrator, RoleDeveloper, RoleViewer:
		return true
	}
	return false
}

// ActorKind tells the four who ask apart.
type ActorKind string

const (
	ActorAssistant     ActorKind = "assistant"     // an assistant's key: that assistant only
	ActorAdministrator ActorKind = "administrator" // a member, or an administrator's key: what Role allows, everywhere
	ActorEndUser       ActorKind = "end_user"      // the browser of a connect session: that session only
	ActorSystem        ActorKind = "system"        // this server's own work: refresh, sweep, setup
)

// Actor is who asks. The zero Actor may do nothing.
type Actor struct {
	Kind      ActorKind
	ID        string // a KeyID, a MemberID, a SessionID, or the name of a background job
	Assistant AssistantID
	Role      Role
}

// System returns the actor of our own work, named for the audit log.
func System(job string) Actor { return Actor{Kind: ActorSystem, ID: job} }

// String returns the actor as the audit log and the request log write it.
func (a Actor) String() string { return string(a.Kind) + ":" + a.ID }

// Permission names one thing that an actor may be allowed to do.
type Permission string

const (
	ReadAssistants   Permission = "assistants.read"
	WriteAssistants  Permission = "assistants.write"
	ReadProfiles     Permission = "profiles.read"
	WriteProfiles    Permission = "profiles.write"
	TestProfiles     Permission = "profiles.test"
	ReadTranscripts  Permission = "transcripts.read" // they hold personal data
	ReadSessions     Permission = "sessions.read"
	BeginSessions    Permission = "sessions.begin"
	ReadConnections  Permission = "connections.read"
	WriteConnections Permission = "connections.write"
	UseConnections   Permission = "connections.use" // take a token, make a call
	ReadVariables    Permission = "variables.read"
	WriteVariables   Permission = "variables.write"
	Preauthorize     Permission = "connections.preauthorize" // connect for all users of an assistant
	ReadKeys         Permission = "keys.read"
	WriteKeys        Permission = "keys.write"
	WriteOwnerKeys   Permission = "keys.write_owner"
	ReadMembers      Permission = "members.read"
	WriteMembers     Permission = "members.write"
	WriteOwners      Permission = "members.write_owner"
	ReadKeyring      Permission = "keyring.read"
	WriteKeyring     Permission = "keyring.write"
	ReadEvents       Permission = "events.read"
	ReadAudit        Permission = "audit.read"
	ReadConnectors   Permission = "connectors.read"
	WriteConnectors  Permission = "connectors.write"
	ReadWebhooks     Permission = "webhooks.read"
	WriteWebhooks    Permission = "webhooks.write"
	RunSessions      Permission = "sessions.run" // the connect flow itself, for one session
	Maintain         Permission = "maintain"     // our own background work
)

var byRole = map[Role]map[Permission]bool{
	RoleOwner: allow(ReadAssistants, WriteAssistants, ReadProfiles, WriteProfiles, TestProfiles, ReadTranscripts, ReadSessions, BeginSessions, ReadConnections,
		WriteConnections, UseConnections, Preauthorize, ReadVariables, WriteVariables, ReadKeys, WriteKeys, WriteOwnerKeys, ReadMembers, WriteMembers, WriteOwners, ReadKeyring, WriteKeyring, ReadEvents, ReadAudit, ReadConnectors, WriteConnectors, ReadWebhooks, WriteWebhooks),
	RoleAdministrator: allow(ReadAssistants, WriteAssistants, ReadProfiles, WriteProfiles, TestProfiles, ReadTranscripts, ReadSessions, BeginSessions, ReadConnections,
		WriteConnections, UseConnections, Preauthorize, ReadVariables, WriteVariables, ReadKeys, WriteKeys, ReadMembers, WriteMembers, ReadKeyring, ReadEvents, ReadAudit, ReadConnectors, WriteConnectors, ReadWebhooks, WriteWebhooks),
	RoleDeveloper: allow(ReadAssistants, ReadProfiles, WriteProfiles, TestProfiles, ReadTranscripts, ReadSessions, BeginSessions, ReadConnections, WriteConnections,
		UseConnections, Preauthorize, ReadVariables, WriteVariables, ReadEvents, ReadConnectors, ReadWebhooks, WriteWebhooks),
	RoleViewer: allow(ReadVariables, ReadAssistants, ReadProfiles, ReadSessions, ReadConnections, ReadEvents, ReadConnectors, ReadWebhooks),
}

var byAssistant = allow(ReadVariables, WriteVariables, ReadAssistants, ReadProfiles, TestProfiles, ReadTranscripts, ReadSessions, BeginSessions, ReadConnections, WriteConnections, UseConnections, ReadEvents, ReadWebhooks, WriteWebhooks)

func allow(ps ...Permission) map[Permission]bool {
	m := make(map[Permission]bool, len(ps))
	for _, p := range ps {
		m[p] = true
	}
	return m
}

// May reports whether the actor may do p with something of the assistant; an
// empty assistant stands for what belongs to none. Deny is the default.
func (a Actor) May(p Permission, assistant AssistantID) bool {
	switch a.Kind {
	case ActorSystem:
		return true
	case ActorAdministrator:
		return byRole[a.Role][p]
	case ActorAssistant:
		return a.Assistant != "" && a.Assistant == assistant && byAssistant[p]
	case ActorEndUser:
		return a.Assistant != "" && a.Assistant == assistant && (p == RunSessions || p == ReadProfiles || p == ReadAssistants)
	}
	return false
}
