"""What all HTTP and RTSP servers of the program share: hosts, logins, tokens, connection limits."""
