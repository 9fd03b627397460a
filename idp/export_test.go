package idp

// What tests of package idp_test turn by hand, which Run does otherwise.
var (
	Poll         = (*Provider).refresh
	MoveKeys     = (*Provider).moveKeys
	CountSchemes = (*Provider).countSchemes
)

var (
	DummyScheme = (*Provider).dummyScheme
	Hashing     = hashing
)

// What deeds do on the way.
var (
	BackOff       = backOff
	DoJobs        = (*Provider).doJobs
	Enqueue       = (*Provider).enqueue
	EnqueueMail   = (*Provider).enqueueMail
	LevelOf       = (*Event).level
	MailAdmins    = (*Provider).mailAdmins
	NewAttempt    = (*Provider).attempt
	NoteBusy      = (*Provider).noteBusy
	PruneOld      = (*Provider).pruneOld
	RecordFailure = (*Provider).recordFailure
)

// The times at which people may sign up.
var (
	ReadSignUpWindow = readSignUpWindow
	WindowOpen       = (*signUpWindow).open
	WindowNext       = (*signUpWindow).next
)
