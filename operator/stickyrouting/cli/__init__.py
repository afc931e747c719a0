"""``kubectl sticky``: what an application's owner and the person on call ask of Sticky Routing.

``kubectl-sticky`` on the PATH makes ``kubectl sticky`` work::

    kubectl sticky status [NAME] [-n NAMESPACE | -A] [-o json]
    kubectl sticky end SESSION... --service NAME      # "-" reads the names from standard input
    kubectl sticky keys rotate NAME

It uses kubectl's own configuration (``--kubeconfig``, ``$KUBECONFIG``, ``~/.kube/config``, ``--context``, ``-n``,
``--as``), in a pod its service account. Results go to standard output, one per line; everything else to standard error.
A session is named by the 16 hexadecimal digits that its state header and the logs show, never by its id.

Exit codes: 0 done; 1 done in part (a session was not known, or not every proxy answered); 2 wrong use; 3 no cluster
(none configured, not reachable, or it does not know the user); 4 the user has no right; 5 not found (StickyService, or
Sticky Routing is not installed); 6 still under way when the time to wait was over; 7 the API server refused it for
another reason, which it tells.

Law: it decides nothing. It writes annotations that the operator acts on, and shows what the operator answers in the
status. Verbs import what they need when they run, so that ``--help`` costs an import of click alone.
"""
